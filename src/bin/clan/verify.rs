//! placeholder until `clan::verify` is there
use crate::output::{Failure, Outcome};

/// Check every operation on every device against a sequential oracle.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Outcome {
    Err(Failure::Failed("not built in".into()))
}
