//! Values to places that indices name. Kernels: `cl/scatter.cl`.

use super::exact::{self, Exact};
use super::indexed::{Indexed, Key, with_key};
use crate::array::RawArray;
use crate::backend::Buffer;
use crate::device::Device;
use crate::element::DType;
use crate::error::Result;
use crate::host::eval::{Evaluator, SharedOut, walk};
use crate::host::{PARALLEL_ABOVE, each_task, map_tasks};
use crate::ops::Op;
use std::hint::select_unpredictable;

/// What is done with a value and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Of several the last stays.
    Put,
    Add,
    /// Added in a way that every order gives the same bits; floats.
    AddExactly,
}

pub(super) struct Store<'a> {
    pub op: &'static str,
    pub act: Act,
    /// Row-major from `origin` on, owned alone by the caller.
    pub out: &'a mut Buffer,
    pub origin: usize,
    pub places: usize,
    pub dtype: DType,
    pub indexed: Indexed,
    /// Row-major, one a place or a single one.
    pub values: &'a RawArray,
    /// Elements of one launch at most.
    #[cfg_attr(not(feature = "opencl"), allow(dead_code, reason = "for OpenCL"))]
    pub most: usize,
}

impl Store<'_> {
    pub fn single(&self) -> bool {
        self.values.layout.len() == 1
    }

    /// Moves rows as larger elements where that can be; the size of an element.
    fn widened(&mut self) -> usize {
        let size = self.dtype.size();
        if self.act != Act::Put || self.single() {
            return size;
        }
        let start = self.values.layout.offset;
        let times = match self.places.is_multiple_of(16 / size) {
            true => self.indexed.widen(size, start),
            false => 1,
        };
        self.origin /= times;
        self.places /= times;
        size * times
    }
}

impl Op for Store<'_> {
    type Output = ();

    fn check(&self, device: &Device) -> Result<()> {
        match self.act {
            Act::Put => Ok(()),
            _ => device.require(self.op, self.dtype),
        }
    }

    fn host(mut self) -> Result<()> {
        let outside = with_key!(self.indexed.fused.dtype(), I => self.indexed.first_outside::<I>());
        // Before anything is written.
        if let Some((at, index)) = outside {
            return Err(self.indexed.range.outside(at, index));
        }
        let start = self.values.layout.offset * self.dtype.size();
        let size = self.widened();
        let (Some(values), Some(out)) = (self.values.buffer.host(), self.out.host_mut()) else {
            return Ok(());
        };
        // SAFETY: a layout's offset lies inside its buffer.
        let values = SharedOut(unsafe { values.ptr().add(start) }.cast_mut());
        let out = SharedOut(out.ptr_mut());
        let on = OnHost {
            indexed: &self.indexed,
            values,
            step: isize::from(!self.single()),
            out,
            origin: self.origin,
            places: self.places,
        };
        with_key!(self.indexed.fused.dtype(), I => match (self.act, self.dtype) {
            (Act::Put, _) => match size {
                1 => on.put::<u8, I>(),
                2 => on.put::<u16, I>(),
                4 => on.put::<u32, I>(),
                8 => on.put::<u64, I>(),
                _ => on.put::<[u64; 2], I>(),
            },
            (Act::AddExactly, DType::F64) => on.add_exactly::<f64, I>(),
            (Act::AddExactly, _) => on.add_exactly::<f32, I>(),
            (Act::Add, DType::F64) => on.add::<f64, I>(|a, b| a + b),
            (Act::Add, DType::F32) => on.add::<f32, I>(|a, b| a + b),
            (Act::Add, d) if d.size() == 8 => on.add::<u64, I>(u64::wrapping_add),
            (Act::Add, _) => on.add::<u32, I>(u32::wrapping_add),
        });
        Ok(())
    }

    #[cfg(feature = "opencl")]
    fn opencl(mut self, device: &crate::opencl::ClDevice) -> Result<()> {
        let size = self.widened();
        super::store_cl::store(self, device, size)
    }
}

/// Parts that sums are split into, whatever the number of threads, so that it does not show in them.
pub(super) const PARTS: usize = 8;

/// Elements whose places are known before they are stored.
const SOME: usize = 256;

/// The host half; all indices are inside.
struct OnHost<'a> {
    indexed: &'a Indexed,
    values: SharedOut,
    /// From one value to the next.
    step: isize,
    out: SharedOut,
    origin: usize,
    places: usize,
}

impl OnHost<'_> {
    /// Calls `f(places, values)` for elements `from .. to` in their order, some at a time, with places from 0 on.
    fn each<W: Copy, I: Key>(
        &self,
        eval: &Evaluator<'_>,
        range: [usize; 2],
        mut f: impl FnMut(&[usize], &[W]),
    ) {
        let indexed = self.indexed;
        let first = indexed.offset as isize - self.origin as isize;
        let (len, step) = (indexed.len, indexed.step);
        // SAFETY: the only one.
        let single = (self.step == 0).then(|| [unsafe { *self.values.at::<W>(0) }; SOME]);
        let (mut scratch, mut places) = (eval.scratch(), [0; SOME]);
        indexed.each_chunk::<I>(eval, &mut scratch, range, |start, keys| {
            walk(&indexed.nest.dims, indexed.base(), start, keys.len(), |at, offset, stride, n| {
                for (some, keys) in keys[at..at + n].chunks(SOME).enumerate() {
                    let (from, places) = (some * SOME, &mut places[..keys.len()]);
                    for (j, (place, key)) in places.iter_mut().zip(keys).enumerate() {
                        // None is outside: that has been asked.
                        let key = key.place(len).unwrap_or(0) as isize;
                        let base = first + offset + (from + j) as isize * stride;
                        *place = (base + key * step) as usize;
                    }
                    let values = match &single {
                        Some(values) => &values[..keys.len()],
                        // SAFETY: one value an element.
                        None => unsafe {
                            let values = self.values.at::<W>((start + at + from) as isize);
                            std::slice::from_raw_parts(values, keys.len())
                        },
                    };
                    f(places, values);
                }
            });
        });
    }

    /// Calls `f(places, …)` for parts of the places, at the same time where there is much to do.
    fn share(&self, f: impl Fn(std::ops::Range<usize>) + Sync) {
        let few = self.indexed.count() <= PARALLEL_ABOVE;
        let parts = if few { 1 } else { rayon::current_num_threads().min(PARTS) };
        let part = self.places.div_ceil(parts).max(1);
        each_task(parts, 1, &|k| f(k * part..((k + 1) * part).min(self.places)));
    }

    fn put<W: Copy, I: Key>(&self) {
        let eval = Evaluator::new(&self.indexed.fused, &self.indexed.nest);
        // SAFETY: inside the array.
        let element = |place: usize| unsafe { self.out.at::<W>((self.origin + place) as isize) };
        self.share(|places| {
            let mut spare = std::mem::MaybeUninit::<W>::uninit();
            let spare = spare.as_mut_ptr();
            self.each::<W, I>(&eval, [0, self.indexed.count()], |at, values| {
                for (place, &value) in at.iter().zip(values) {
                    // What is not in this part goes to a place of no use: nobody can foresee it, and jumps take longer.
                    let to = select_unpredictable(places.contains(place), element(*place), spare);
                    // SAFETY: in this part of the array, or the spare place.
                    unsafe { to.write(value) };
                }
            });
        });
    }

    fn add<W: Copy + Default + Send + Sync, I: Key>(&self, add: impl Fn(W, W) -> W + Sync) {
        let eval = Evaluator::new(&self.indexed.fused, &self.indexed.nest);
        let n = self.indexed.count();
        // SAFETY (all below): the array has these places; nobody else uses it.
        let element = |place: usize| unsafe { self.out.at::<W>((self.origin + place) as isize) };
        if n <= PARALLEL_ABOVE {
            self.each::<W, I>(&eval, [0, n], |places, values| {
                for (&place, &value) in places.iter().zip(values) {
                    let at = element(place);
                    unsafe { at.write(add(at.read(), value)) };
                }
            });
        } else if self.places <= n / (2 * PARTS) {
            // Parts of the elements have sums of their own.
            let part = n.div_ceil(PARTS);
            let sums: Vec<Vec<W>> = map_tasks(PARTS, &|k| {
                let mut sums = vec![W::default(); self.places];
                let range = [(k * part).min(n), ((k + 1) * part).min(n)];
                self.each::<W, I>(&eval, range, |places, values| {
                    for (&place, &value) in places.iter().zip(values) {
                        sums[place] = add(sums[place], value);
                    }
                });
                sums
            });
            each_task(self.places, 4096, &|place| {
                let at = element(place);
                // SAFETY: also, each task has a place of its own.
                let before = unsafe { at.read() };
                let sum = sums.iter().fold(before, |sum, part| add(sum, part[place]));
                unsafe { at.write(sum) };
            });
        } else {
            self.share(|places| {
                let spare: *mut W = &mut W::default();
                self.each::<W, I>(&eval, [0, n], |at, values| {
                    for (place, &value) in at.iter().zip(values) {
                        let own = places.contains(place);
                        let to = select_unpredictable(own, element(*place), spare);
                        // SAFETY: also, in this part, or the spare place.
                        unsafe { to.write(add(to.read(), value)) };
                    }
                });
            });
        }
    }

    fn add_exactly<F: Exact, I: Key>(&self) {
        let eval = Evaluator::new(&self.indexed.fused, &self.indexed.nest);
        self.share(|places| {
            let start = places.start;
            let each = F::WORDS + 1;
            let mut words = vec![0u32; places.len() * each];
            self.each::<F, I>(&eval, [0, self.indexed.count()], |at, values| {
                for (place, &value) in at.iter().zip(values).filter(|(at, _)| places.contains(at)) {
                    exact::add(&mut words[(place - start) * each..][..each], value);
                }
            });
            for (place, words) in places.zip(words.chunks_mut(each)) {
                // SAFETY: inside the array, in this part of it.
                unsafe {
                    let at = self.out.at::<F>((self.origin + place) as isize);
                    at.write(exact::settle(words, at.read()));
                }
            }
        });
    }
}
