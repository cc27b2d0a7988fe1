//! Stencils on the host: tiles with their halo are copied together, the border filled in, and the rule runs
//! over their lines.

use super::Apply;
use crate::element::Number;
use crate::error::Result;
use crate::host;
use crate::host::eval::SharedOut;
use crate::ops::conv2d::border_index;
use std::marker::PhantomData;
use std::sync::Arc;

/// The neighbourhood of an element, as the host's half of a [`Stencil`](super::Stencil) sees it.
pub struct Around<'a, T, const N: usize> {
    /// In a tile that has `radius` elements more on each side.
    here: *const T,
    strides: [isize; N],
    radius: [isize; N],
    _tile: PhantomData<&'a T>,
}

impl<T, const N: usize> std::fmt::Debug for Around<'_, T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Around(radius {:?})", self.radius)
    }
}

impl<T: Copy, const N: usize> Around<'_, T, N> {
    /// The element so far away along each axis, `[0; N]` for the element itself. Offsets beyond the radius are
    /// cut to it.
    #[inline(always)]
    pub fn get(&self, offset: [isize; N]) -> T {
        let steps = offset.iter().zip(&self.radius).zip(&self.strides);
        let at: isize = steps.map(|((&o, &r), &stride)| o.clamp(-r, r) * stride).sum();
        // SAFETY: the tile has `radius` elements around every one that a rule is asked for.
        unsafe { *self.here.offset(at) }
    }
}

/// Applies a rule along a line: the first element's neighbourhood, and where results go.
pub(super) type Lines<T, const N: usize> = Arc<dyn Fn(&Around<'_, T, N>, &mut [T]) + Send + Sync>;

pub(super) fn lines<T: Copy, const N: usize>(
    rule: impl Fn(&Around<'_, T, N>) -> T + Send + Sync + 'static,
) -> Lines<T, N> {
    Arc::new(move |first, out| {
        for (x, out) in out.iter_mut().enumerate() {
            // SAFETY: the line has as many elements in the tile.
            let here = unsafe { first.here.add(x) };
            *out = rule(&Around { here, ..*first });
        }
    })
}

/// Elements of a tile along each axis, the last one first: with their halo they stay in the second level
/// cache.
const TILE: [&[usize]; 3] = [&[8192], &[512, 32], &[128, 16, 8]];

impl<T: Number, const N: usize> Apply<'_, T, N> {
    pub(super) fn on_host(self) -> Result<()> {
        let (arrays, lengths) = self.sizes();
        let Apply { stencil, border, input, out, .. } = self;
        let radius = stencil.radius;
        // Halos wider than a tile would be most of the work.
        let tile: [usize; N] = std::array::from_fn(|a| {
            let usual = TILE[N - 1][N - 1 - a].max(2 * radius[a]);
            usual.min(lengths[a])
        });
        let counts: [usize; N] = std::array::from_fn(|a| lengths[a].div_ceil(tile[a]));
        let padded: [usize; N] = std::array::from_fn(|a| tile[a] + 2 * radius[a]);
        let mut strides = [1isize; N];
        let mut steps = [1usize; N];
        for a in (1..N).rev() {
            strides[a - 1] = strides[a] * padded[a] as isize;
            steps[a - 1] = steps[a] * lengths[a];
        }
        let whole = lengths.iter().product::<usize>();
        let (Some(from), Some(to)) = (input.buffer.host(), out.host_mut()) else {
            return Ok(());
        };
        // SAFETY: a row-major array of this length at this offset.
        let from: &[T] = unsafe {
            let start = from.ptr().cast::<T>().add(input.layout.offset);
            std::slice::from_raw_parts(start, arrays * whole)
        };
        let to = SharedOut(to.ptr_mut());
        let tiles = counts.iter().product::<usize>();
        let around = |here: *const T| Around {
            here,
            strides,
            radius: radius.map(|r| r as isize),
            _tile: PhantomData,
        };
        let task = |memory: &mut Vec<T>, k: usize| {
            let array = k / tiles;
            let from = &from[array * whole..][..whole];
            let mut rest = k % tiles;
            let mut first = [0; N];
            for a in (0..N).rev() {
                first[a] = rest % counts[a] * tile[a];
                rest /= counts[a];
            }
            let last = N - 1;
            let n: [usize; N] = std::array::from_fn(|a| tile[a].min(lengths[a] - first[a]));
            // Every line of the tile and its halo.
            let halo: [usize; N] = std::array::from_fn(|a| n[a] + 2 * radius[a]);
            each_line(&halo, |line| {
                let at: usize = (0..last).map(|a| line[a] * strides[a] as usize).sum();
                let into = &mut memory[at..at + halo[last]];
                let mut source = Some(0);
                for a in 0..last {
                    let place = (first[a] + line[a]) as isize - radius[a] as isize;
                    let place = border_index(border, place, lengths[a]);
                    source = source.zip(place).map(|(s, place)| s + place * steps[a]);
                }
                match source {
                    None => into.fill(T::default()),
                    Some(at) => {
                        let begin = first[last] as isize - radius[last] as isize;
                        copy_line(border, &from[at..at + lengths[last]], begin, into);
                    }
                }
            });
            each_line(&n, |line| {
                let inside: usize =
                    (0..N).map(|a| (line[a] + radius[a]) * strides[a] as usize).sum();
                let place: usize = (0..N).map(|a| (first[a] + line[a]) * steps[a]).sum();
                // SAFETY: a line of the result, which is in this tile alone.
                let out = unsafe {
                    let start = to.at::<T>((array * whole + place) as isize);
                    std::slice::from_raw_parts_mut(start, n[last])
                };
                (stencil.lines)(&around(memory[inside..].as_ptr()), out);
            });
        };
        let memory = || vec![T::default(); padded.iter().product()];
        // Tasks of several tiles, so that memory is made a few times a thread.
        let tiles = arrays * tiles;
        let each = tiles.div_ceil(8 * rayon::current_num_threads());
        host::for_tasks(tiles.div_ceil(each.max(1)), arrays * whole, |k| {
            let mut memory = memory();
            (k * each..tiles.min((k + 1) * each)).for_each(|tile| task(&mut memory, tile));
        });
        Ok(())
    }
}

/// Calls `f` with the index of every line along the last axis.
fn each_line<const N: usize>(shape: &[usize; N], mut f: impl FnMut(&[usize; N])) {
    let lines: usize = shape[..N - 1].iter().product();
    let mut index = [0; N];
    for _ in 0..lines {
        f(&index);
        for a in (0..N - 1).rev() {
            index[a] += 1;
            if index[a] < shape[a] {
                break;
            }
            index[a] = 0;
        }
    }
}

/// A line from position `begin` on, which may be outside of it.
fn copy_line<T: Number>(border: crate::Border, line: &[T], begin: isize, into: &mut [T]) {
    let (n, end) = (line.len() as isize, begin + into.len() as isize);
    // What lies inside is copied at once.
    let (from, to) = (begin.clamp(0, n), end.clamp(0, n).max(begin.clamp(0, n)));
    let (a, b) = ((from - begin) as usize, (to - begin) as usize);
    if to > from {
        into[a..b].copy_from_slice(&line[from as usize..to as usize]);
    }
    let inside = if to > from { a..b } else { 0..0 };
    for k in (0..inside.start).chain(inside.end..into.len()) {
        let place = border_index(border, begin + k as isize, line.len());
        into[k] = place.map_or(T::default(), |place| line[place]);
    }
}
