//! Sparse matrices from Matrix Market files. Of a graph, who matters most in it (PageRank); of a symmetric
//! matrix of numbers, the solution of a linear system (conjugate gradients). Both are checked.
//!
//! `cargo run --release --example 11_matrix_market -- [--device NAME] [FILE.mtx]`
//!
//! Files are coordinate files of the types real, integer and pattern, general or symmetric, as on
//! <https://sparse.tamu.edu>. Without one, it works on a karate club and on a plate that is heated.

use clan::{Device, DeviceArray, SparseMatrix};
use std::fmt::Write;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (mut device, mut file) = (Device::best()?, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--device" => device = Device::select(args.next().unwrap_or_default().as_str())?,
            other if other.starts_with('-') => return Err(format!("no option {other}").into()),
            other => file = Some(other.to_string()),
        }
    }
    println!("on {device}");
    let texts = match file {
        Some(path) => vec![(path.clone(), std::fs::read_to_string(path)?)],
        None => vec![
            ("a karate club".to_string(), include_str!("data/karate.mtx").to_string()),
            ("a plate of 96 × 96 points".to_string(), plate(96)?),
        ],
    };
    for (name, text) in texts {
        let market = Market::parse(&text)?;
        let Market { shape, values, .. } = &market;
        println!("{name}: {} × {}, {} elements", shape.0, shape.1, values.len());
        if market.pattern || !market.symmetric {
            rank(&device, &market)?;
        } else {
            solve(&device, &market)?;
        }
    }
    Ok(())
}

/// A coordinate file: every element with its row, column and value, both triangles of symmetric ones.
#[derive(Clone)]
struct Market {
    shape: (usize, usize),
    rows: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
    pattern: bool,
    symmetric: bool,
}

impl Market {
    fn parse(text: &str) -> Result<Market, String> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line).to_lowercase();
        let words: Vec<&str> = header.split_whitespace().collect();
        let (field, symmetry) = match words[..] {
            ["%%matrixmarket", "matrix", "coordinate", field, symmetry] => (field, symmetry),
            _ => return Err(format!("line 1: {header:?} is no header of a coordinate file")),
        };
        if !["real", "integer", "pattern"].contains(&field) {
            return Err(format!(
                "line 1: elements of type {field}; real, integer and pattern work"
            ));
        }
        if !["general", "symmetric"].contains(&symmetry) {
            return Err(format!("line 1: {symmetry}; general and symmetric work"));
        }
        let (pattern, symmetric) = (field == "pattern", symmetry == "symmetric");
        let mut lines = lines.filter(|(_, l)| !l.starts_with('%') && !l.trim().is_empty());
        let (at, sizes) = lines.next().ok_or("the line with the sizes is missing")?;
        let sizes = sizes.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>();
        let Ok([rows, columns, n]) = sizes.as_deref() else {
            return Err(format!("line {}: three sizes are expected", at + 1));
        };
        let (shape, n) = ((*rows, *columns), *n);
        let mut market = Market {
            shape,
            rows: Vec::new(),
            columns: Vec::new(),
            values: Vec::new(),
            pattern,
            symmetric,
        };
        let mut found = 0;
        for (at, line) in lines {
            let mut words = line.split_whitespace();
            let mut index = || words.next()?.parse::<u32>().ok()?.checked_sub(1);
            let (row, column) = (index(), index());
            let value = if pattern { Some(1.0) } else { words.next().and_then(|w| w.parse().ok()) };
            let (Some(row), Some(column), Some(value)) = (row, column, value) else {
                return Err(format!("line {}: {line:?} is no element; rows count from 1", at + 1));
            };
            market.push(row, column, value);
            if symmetric && row != column {
                market.push(column, row, value);
            }
            found += 1;
        }
        match found == n {
            true => Ok(market),
            false => Err(format!("{found} elements where the file promises {n}")),
        }
    }

    fn push(&mut self, row: u32, column: u32, value: f32) {
        self.rows.push(row);
        self.columns.push(column);
        self.values.push(value);
    }

    fn on(&self, device: &Device) -> clan::Result<SparseMatrix<f32>> {
        SparseMatrix::from_triplets(device, self.shape, &self.rows, &self.columns, &self.values)
    }

    fn each(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        let places = self.rows.iter().zip(&self.columns).zip(&self.values);
        places.map(|((&r, &c), &v)| (r as usize, c as usize, v.into()))
    }
}

/// How often a random walker goes on by an edge; else it jumps to any node.
const DAMPING: f32 = 0.85;

/// PageRank: where a random walker is found how often.
fn rank(device: &Device, market: &Market) -> Result<(), Failure> {
    let n = market.shape.0;
    if n == 0 || n != market.shape.1 {
        return Err(format!("shape {:?} is no graph's", market.shape).into());
    }
    let mut links = market.clone();
    links.values.fill(1.0);
    let forward = links.on(device)?;
    let backward = forward.transpose()?;
    // What a node hands on to each that it links to; nodes without links hand on to all.
    let degree = forward.matmul(&DeviceArray::ones(device, n)?)?;
    let ends = degree.expr().eq(0.0f32).cast::<f32>().eval()?;
    let share = degree.expr().maximum(1.0f32).recip().eval()?;
    let mut ranks = DeviceArray::full(device, n, 1.0 / n as f32)?;
    let clock = Instant::now();
    let mut steps = 0;
    loop {
        let came = backward.matmul(&(&ranks * &share).eval()?)?;
        let lost = (&ranks * &ends).sum()?;
        let next = ((&came + &lost / n as f32) * DAMPING + (1.0 - DAMPING) / n as f32).eval()?;
        let moved = (&next - &ranks).abs().sum()?.item()?;
        ranks = next;
        steps += 1;
        if moved < 1e-6 || steps == 200 {
            break;
        }
    }
    println!("   PageRank: {steps} steps in {:.1} ms", clock.elapsed().as_secs_f64() * 1e3);
    let ranks = ranks.to_vec()?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| ranks[b].total_cmp(&ranks[a]));
    for &node in order.iter().take(5) {
        println!("   {:>6}: {:.4}", node + 1, ranks[node]);
    }
    let off =
        expected_ranks(&links).into_iter().zip(&ranks).map(|(a, &b)| (a - f64::from(b)).abs());
    let off = off.fold(0.0, f64::max);
    println!("   at most {off:.1e} from plain loops");
    match off < 1e-5 {
        true => Ok(()),
        false => Err("the ranks are wrong".into()),
    }
}

/// The same by plain loops in `f64`.
fn expected_ranks(links: &Market) -> Vec<f64> {
    let n = links.shape.0;
    let mut degree = vec![0.0; n];
    links.each().for_each(|(r, _, v)| degree[r] += v);
    let mut ranks = vec![1.0 / n as f64; n];
    for _ in 0..200 {
        let lost: f64 = (0..n).filter(|&r| degree[r] == 0.0).map(|r| ranks[r]).sum();
        let mut next = vec![lost / n as f64; n];
        links.each().for_each(|(r, c, v)| next[c] += ranks[r] * v / degree[r]);
        let d = f64::from(DAMPING);
        next.iter_mut().for_each(|rank| *rank = d * *rank + (1.0 - d) / n as f64);
        ranks = next;
    }
    ranks
}

/// Solves A·x = b by conjugate gradients, for the b of which the solution is known.
fn solve(device: &Device, market: &Market) -> Result<(), Failure> {
    let n = market.shape.0;
    let a = market.on(device)?;
    let known: Vec<f32> = (0..n).map(|i| 1.0 + (i % 7) as f32 / 7.0).collect();
    let mut b = vec![0f64; n];
    market.each().for_each(|(r, c, v)| b[r] += v * f64::from(known[c]));
    let b: Vec<f32> = b.into_iter().map(|v| v as f32).collect();

    let b = DeviceArray::from_slice(device, &b)?;
    let mut x = DeviceArray::zeros(device, n)?;
    let (mut residual, mut direction) = (b.clone(), b.clone());
    let mut size = (&residual * &residual).sum()?.item()?;
    let goal = size * 1e-12;
    let clock = Instant::now();
    let mut steps = 0;
    while size > goal && steps < 10 * n {
        let image = a.matmul(&direction)?;
        let curve = (&direction * &image).sum()?.item()?;
        if curve <= 0.0 {
            return Err("the matrix is not positive definite".into());
        }
        let step = size / curve;
        x = (&x + &direction * step).eval()?;
        residual = (&residual - &image * step).eval()?;
        let new = (&residual * &residual).sum()?.item()?;
        direction = (&residual + &direction * (new / size)).eval()?;
        size = new;
        steps += 1;
    }
    println!(
        "   conjugate gradients: {steps} steps in {:.1} ms",
        clock.elapsed().as_secs_f64() * 1e3
    );
    let rest = (&a.matmul(&x)? - &b).square().sum()?.item()? / b.expr().square().sum()?.item()?;
    println!("   residual {:.1e} of the right-hand side", rest.sqrt());
    let off = x.to_vec()?.iter().zip(&known).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("   at most {off:.1e} from the known solution");
    match rest.sqrt() < 1e-4 {
        true => Ok(()),
        false => Err("it did not converge".into()),
    }
}

/// Heat in a plate with cold edges, as a file: the five-point Laplacian, of which a symmetric file has the
/// lower triangle.
fn plate(side: usize) -> Result<String, std::fmt::Error> {
    let mut elements = String::new();
    let mut count = 0;
    for at in 0..side * side {
        let (y, x) = (at / side, at % side);
        let before = [(y > 0).then(|| at - side), (x > 0).then(|| at - 1)];
        for other in before.into_iter().flatten() {
            writeln!(elements, "{} {} -1", at + 1, other + 1)?;
            count += 1;
        }
        writeln!(elements, "{} {} 4", at + 1, at + 1)?;
        count += 1;
    }
    let n = side * side;
    Ok(format!("%%MatrixMarket matrix coordinate real symmetric\n{n} {n} {count}\n{elements}"))
}
