//! Compressed rows from triplets, and the check of rows that come compressed.

use crate::error::{Error, ErrorKind, Result};
use crate::ops::linalg::Real;

/// Compressed rows on their way to a device.
pub(super) struct Rows<T> {
    /// Where each row begins, and the end of the last.
    pub starts: Vec<usize>,
    pub columns: Vec<u32>,
    pub values: Vec<T>,
}

/// Refuses shapes whose positions have no 32 bits.
pub(super) fn fits(op: &'static str, (rows, columns): (usize, usize)) -> Result<()> {
    if rows.max(columns) <= u32::MAX as usize {
        return Ok(());
    }
    let text = format!("shape [{rows}, {columns}] has an axis beyond 2^32 - 1; split it");
    Err(Error::new(ErrorKind::TooLarge, op, text))
}

/// Sorts triplets by rows and columns; what falls on one place is added up in the given order.
pub(super) fn from_triplets<T: Real>(
    op: &'static str,
    shape: (usize, usize),
    rows: &[u32],
    columns: &[u32],
    values: &[T],
) -> Result<Rows<T>> {
    fits(op, shape)?;
    let n = values.len();
    if rows.len() != n || columns.len() != n {
        let text = format!(
            "{} rows, {} columns and {n} values; every triplet has one of each",
            rows.len(),
            columns.len()
        );
        return Err(Error::shape(op, text));
    }
    let bad = |(&r, &c): (&u32, &u32)| r as usize >= shape.0 || c as usize >= shape.1;
    if let Some(k) = rows.iter().zip(columns).position(bad) {
        let text = format!(
            "triplet {k} is at ({}, {}), outside of shape [{}, {}]",
            rows[k], columns[k], shape.0, shape.1
        );
        return Err(Error::index(op, text));
    }
    // A counting sort by rows keeps the order within each.
    let mut starts = counters(op, shape.0)?;
    for &r in rows {
        starts[r as usize + 1] += 1;
    }
    for r in 0..shape.0 {
        starts[r + 1] += starts[r];
    }
    let mut next = starts.clone();
    let mut entries = vec![(0, T::default()); n];
    for ((&r, &c), &v) in rows.iter().zip(columns).zip(values) {
        let at = &mut next[r as usize];
        entries[*at] = (c, v);
        *at += 1;
    }
    sort_rows(&mut entries, &starts);

    let mut out = Rows {
        starts: Vec::with_capacity(shape.0 + 1),
        columns: Vec::with_capacity(n),
        values: Vec::with_capacity(n),
    };
    out.starts.push(0);
    for row in starts.windows(2) {
        let begin = out.columns.len();
        for &(c, v) in &entries[row[0]..row[1]] {
            match out.values.last_mut() {
                Some(sum) if out.columns.len() > begin && out.columns.last() == Some(&c) => {
                    *sum = *sum + v;
                }
                _ => {
                    out.columns.push(c);
                    out.values.push(v);
                }
            }
        }
        out.starts.push(out.columns.len());
    }
    Ok(out)
}

/// Zeros for `rows` and one more; an error, rather than an abort, when there is no memory for them.
fn counters(op: &'static str, rows: usize) -> Result<Vec<usize>> {
    let mut zeros = Vec::new();
    if zeros.try_reserve_exact(rows + 1).is_err() {
        let text = format!("the host has no memory to sort {rows} rows; split the matrix");
        return Err(Error::new(ErrorKind::OutOfMemory, op, text));
    }
    zeros.resize(rows + 1, 0);
    Ok(zeros)
}

/// Elements sorted by one thread: more are shared.
const SERIAL: usize = 1 << 15;

/// Sorts every row by column, in a stable way. `starts` are positions in the whole; the entries begin at the
/// first of them.
fn sort_rows<T: Real>(entries: &mut [(u32, T)], starts: &[usize]) {
    let rows = starts.len() - 1;
    if rows > 1 && entries.len() > SERIAL {
        let middle = rows / 2;
        let (left, right) = entries.split_at_mut(starts[middle] - starts[0]);
        rayon::join(|| sort_rows(left, &starts[..=middle]), || sort_rows(right, &starts[middle..]));
        return;
    }
    for row in starts.windows(2) {
        entries[row[0] - starts[0]..row[1] - starts[0]].sort_by_key(|&(c, _)| c);
    }
}

/// Refuses compressed rows that are none.
pub(super) fn check(
    op: &'static str,
    shape: (usize, usize),
    starts: &[usize],
    columns: &[u32],
    values: usize,
) -> Result<()> {
    fits(op, shape)?;
    let n = columns.len();
    if starts.len() != shape.0 + 1 || values != n {
        let text = format!(
            "{} row starts, {n} columns and {values} values for {} rows; there is a start for each row and one more, and as many columns as values",
            starts.len(),
            shape.0
        );
        return Err(Error::shape(op, text));
    }
    if starts[0] != 0 || starts[shape.0] != n {
        let text = format!(
            "the row starts go from {} to {}; they go from 0 to the {n} elements",
            starts[0], starts[shape.0]
        );
        return Err(Error::argument(op, text));
    }
    if let Some(r) = starts.windows(2).position(|w| w[0] > w[1]) {
        let text = format!(
            "row {r} starts at {} and the next at {}; starts do not fall",
            starts[r],
            starts[r + 1]
        );
        return Err(Error::argument(op, text));
    }
    for (r, w) in starts.windows(2).enumerate() {
        let row = &columns[w[0]..w[1]];
        if let Some(k) = row.iter().position(|&c| c as usize >= shape.1) {
            let text = format!(
                "element {} of row {r} is in column {}, outside of shape [{}, {}]",
                k, row[k], shape.0, shape.1
            );
            return Err(Error::index(op, text));
        }
        if let Some(k) = row.windows(2).position(|c| c[0] >= c[1]) {
            let text = format!(
                "columns {} and {} follow each other in row {r}; columns rise, each once: `from_triplets` sorts and adds up",
                row[k],
                row[k + 1]
            );
            return Err(Error::argument(op, text));
        }
    }
    Ok(())
}

/// The rows of the transposed matrix, of `columns` rows.
pub(super) fn transposed<T: Real>(
    op: &'static str,
    rows: &Rows<T>,
    columns: usize,
) -> Result<Rows<T>> {
    let n = rows.values.len();
    let mut starts = counters(op, columns)?;
    for &c in &rows.columns {
        starts[c as usize + 1] += 1;
    }
    for c in 0..columns {
        starts[c + 1] += starts[c];
    }
    let mut next = starts.clone();
    let mut out = Rows { starts, columns: vec![0; n], values: vec![T::default(); n] };
    for (r, w) in rows.starts.windows(2).enumerate() {
        for k in w[0]..w[1] {
            let at = &mut next[rows.columns[k] as usize];
            out.columns[*at] = r as u32;
            out.values[*at] = rows.values[k];
            *at += 1;
        }
    }
    Ok(out)
}
