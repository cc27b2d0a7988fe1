//! Chunks that shrink towards the end, so that everybody finishes at about the same time.

use std::ops::Range;

/// Hands out a length in chunks: guided self-scheduling, whose chunks are what is left over twice the
/// number of workers (Polychronopoulos and Kuck, 1987), here in proportion to how fast each worker has
/// turned out to be.
#[derive(Clone, Debug)]
pub(crate) struct Guided {
    next: usize,
    len: usize,
    least: usize,
    /// No chunk is larger.
    most: usize,
    workers: Vec<Worker>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Worker {
    /// Of chunks that are done.
    elements: f64,
    seconds: f64,
}

/// How much of a plain share the first chunk of a worker is, whose speed nobody knows yet: a slow one
/// must not hold up the others with it, even one of a hundredth of their speed.
const FIRST: usize = 64;

impl Guided {
    pub fn new(len: usize, workers: usize, least: usize, most: usize) -> Guided {
        let least = least.max(1);
        let workers = vec![Worker::default(); workers];
        Guided { next: 0, len, least, most: most.max(least), workers }
    }

    /// A worker has done so many elements in so many seconds.
    pub fn done(&mut self, worker: usize, elements: usize, seconds: f64) {
        let w = &mut self.workers[worker];
        // Older chunks count less: the first one may have compiled kernels.
        w.elements = w.elements / 2.0 + elements as f64;
        w.seconds = w.seconds / 2.0 + seconds.max(1e-9);
    }

    /// The next chunk of a worker; `None` when everything has been handed out.
    pub fn next(&mut self, worker: usize) -> Option<Range<usize>> {
        let left = self.len - self.next;
        if left == 0 {
            return None;
        }
        let p = self.workers.len();
        let plain = left as f64 / (2 * p) as f64;
        let chunk = match self.share(worker) {
            Some(share) => left as f64 * share / 2.0,
            None => plain / FIRST as f64,
        };
        let chunk = (chunk.ceil() as usize).clamp(self.least, self.most).min(left);
        // A crumb would cost a turn of its own.
        let chunk = if left - chunk < self.least && left <= self.most { left } else { chunk };
        self.next += chunk;
        Some(self.next - chunk..self.next)
    }

    /// The worker's part of the speed of all. Those nobody knows yet are taken for average.
    fn share(&self, worker: usize) -> Option<f64> {
        let rate = |w: &Worker| (w.seconds > 0.0).then(|| w.elements / w.seconds);
        let own = rate(&self.workers[worker])?;
        let known: Vec<f64> = self.workers.iter().filter_map(rate).collect();
        let sum: f64 = known.iter().sum();
        let all = sum / known.len() as f64 * self.workers.len() as f64;
        Some(own / all)
    }
}
