//! What `--only` asks for: families, or single operations of them.

use crate::output::Failure;

/// What is wanted; everything, where nothing is named.
pub struct Only(Vec<String>);

impl Only {
    /// Refuses names that `families`, with their operations, do not have.
    pub fn new(names: &[String], families: &[(&str, Vec<String>)]) -> Result<Only, Failure> {
        let names: Vec<String> =
            names.iter().map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).collect();
        for name in &names {
            if !families.iter().any(|(family, ops)| family == name || ops.contains(name)) {
                let list: Vec<String> = families
                    .iter()
                    .map(|(family, ops)| format!("  {family}: {}", ops.join(", ")))
                    .collect();
                return Err(Failure::Usage(format!(
                    "--only {name}: there is no such family or operation; there are\n{}",
                    list.join("\n")
                )));
            }
        }
        Ok(Only(names))
    }

    pub fn wants(&self, family: &str, op: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|n| n == family || n == op)
    }
}

/// The option's help.
pub fn help(families: &[(&str, Vec<String>)]) -> String {
    let names: Vec<&str> = families.iter().map(|(family, _)| *family).collect();
    format!(
        "Only these families, or single operations of them, separated by commas. Families: {}",
        names.join(", ")
    )
}
