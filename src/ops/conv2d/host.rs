//! Convolution on the host: strips of rows whose sums stay in the first level cache.

use super::{Conv2d, border_index};
use crate::host;
use crate::host::eval::SharedOut;

/// A type that products are summed in.
pub(super) trait Sum: Copy + Default + Send + Sync {
    fn add_product(&mut self, a: Self, b: Self);
}
macro_rules! float_sums {
    ($($t:ident)*) => {$(
        impl Sum for $t {
            #[inline(always)]
            #[allow(clippy::redundant_closure_call, reason = "names the parameters of a row below")]
            fn add_product(&mut self, a: $t, b: $t) {
                *self += a * b;
            }
        }
    )*};
}
macro_rules! int_sums {
    ($($t:ident)*) => {$(
        impl Sum for $t {
            #[inline(always)]
            fn add_product(&mut self, a: $t, b: $t) {
                *self = self.wrapping_add(a.wrapping_mul(b));
            }
        }
    )*};
}
float_sums!(f32 f64);
int_sums!(i8 i16 i32 i64 u8 u16 u32 u64);

/// Results of one row that are summed at once: they and their inputs stay in the first level cache.
const STRIP: usize = 1024;

pub(super) fn on_host<S, A, L, W>(op: Conv2d<'_>, load: L, store: W)
where
    S: Copy + Send + Sync,
    A: Sum,
    L: Fn(S) -> A + Sync,
    W: Fn(A) -> S + Sync,
{
    let s = op.sizes();
    let border = op.border;
    let (Some(image), Some(filter), Some(out)) =
        (op.image.buffer.host(), op.filter.buffer.host(), op.out.host_mut())
    else {
        return;
    };
    let rows = s.images * s.depth * s.height;
    if rows * s.width == 0 {
        return;
    }
    // SAFETY (both): row-major arrays of these lengths at these offsets.
    let filter: Vec<A> = unsafe {
        let p = filter.ptr().cast::<S>().add(op.filter.layout.offset);
        std::slice::from_raw_parts(p, s.filter_depth * s.filter_height * s.filter_width)
            .iter()
            .map(|&x| load(x))
            .collect()
    };
    let image: &[S] = unsafe {
        let p = image.ptr().cast::<S>().add(op.image.layout.offset);
        std::slice::from_raw_parts(p, rows * s.width)
    };
    let out = SharedOut(out.ptr_mut());
    let row = |r: usize| {
        let (layer, y) = (r / s.height, r % s.height);
        let z = layer % s.depth;
        let mut sums = [A::default(); STRIP];
        for x0 in (0..s.width).step_by(STRIP) {
            let n = STRIP.min(s.width - x0);
            let sums = &mut sums[..n];
            sums.fill(A::default());
            for line in 0..s.filter_depth * s.filter_height {
                let place = |at: usize, k: usize, of: usize, n: usize| {
                    border_index(border, at as isize + k as isize - (of / 2) as isize, n)
                };
                let (d, i) = (line / s.filter_height, line % s.filter_height);
                let (Some(zz), Some(yy)) =
                    (place(z, d, s.filter_depth, s.depth), place(y, i, s.filter_height, s.height))
                else {
                    continue;
                };
                let source = &image[((layer - z + zz) * s.height + yy) * s.width..][..s.width];
                for j in 0..s.filter_width {
                    let coefficient = filter[line * s.filter_width + j];
                    let shift = j as isize - (s.filter_width / 2) as isize;
                    // Results x0 + a .. x0 + b lie inside the source after the shift.
                    let first = x0 as isize + shift;
                    let a = (-first).clamp(0, n as isize) as usize;
                    let b = (s.width as isize - first).clamp(a as isize, n as isize) as usize;
                    let begin = (first + a as isize).clamp(0, s.width as isize) as usize;
                    for (sum, &x) in sums[a..b].iter_mut().zip(&source[begin..]) {
                        sum.add_product(coefficient, load(x));
                    }
                    for x in (0..a).chain(b..n) {
                        if let Some(xx) = border_index(border, first + x as isize, s.width) {
                            sums[x].add_product(coefficient, load(source[xx]));
                        }
                    }
                }
            }
            for (x, &sum) in sums.iter().enumerate() {
                // SAFETY: inside the result; rows are disjoint.
                unsafe { out.at::<S>((r * s.width + x0 + x) as isize).write(store(sum)) };
            }
        }
    };
    host::for_tasks(rows, rows * s.width * filter.len(), row);
}
