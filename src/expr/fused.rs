//! An expression made ready for a backend: a straight line of instructions over leaves.

use super::node::{Binary, Kind, Node, Ternary, Unary};
use crate::array::RawArray;
use crate::device::Device;
use crate::element::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::{Dims, Layout, Strides, coalesce};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// One instruction; its operands are positions of earlier instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Leaf(u32),
    Scalar(u32),
    /// What an epilogue starts from; see [`Kind::Result`].
    Result(u64),
    Unary(Unary, u32),
    Binary(Binary, [u32; 2]),
    Ternary(Ternary, [u32; 3]),
    Cast(u32),
}

impl Op {
    /// Whether a processor calls a function of the mathematical library for each element.
    fn is_heavy(&self) -> bool {
        use Unary::*;
        match self {
            Op::Unary(op, _) => matches!(
                op,
                Cbrt | Exp
                    | Exp2
                    | ExpM1
                    | Ln
                    | Log2
                    | Log10
                    | Ln1p
                    | Sin
                    | Cos
                    | Tan
                    | Asin
                    | Acos
                    | Atan
                    | Sinh
                    | Cosh
                    | Tanh
                    | Asinh
                    | Acosh
                    | Atanh
            ),
            Op::Binary(op, _) => {
                matches!(op, Binary::Pow | Binary::Atan2 | Binary::Hypot | Binary::Rem)
            }
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inst {
    pub op: Op,
    /// Type of the value (the storage type of the node; computed in `dtype.compute()`).
    pub dtype: DType,
}

pub(crate) struct Leaf {
    /// `None` for positions (see [`Kind::Iota`]).
    pub array: Option<RawArray>,
    pub layout: Layout,
    pub dtype: DType,
}

/// A whole expression as both backends read it. The value is that of the last instruction.
pub(crate) struct Fused {
    pub insts: SmallVec<[Inst; 8]>,
    pub leaves: SmallVec<[Leaf; 2]>,
    pub scalars: SmallVec<[Scalar; 4]>,
    pub shape: Dims,
    pub device: Option<Device>,
}

/// The loops over an expression: lengths, and for every leaf where it starts and how it steps.
#[derive(Clone, Debug)]
pub(crate) struct Nest {
    /// Lengths after merging, outermost first; empty for one element.
    pub dims: Dims,
    /// For each leaf its strides, then those of the output when there is one.
    pub strides: SmallVec<[Strides; 4]>,
}

impl Fused {
    pub fn new(root: &Arc<Node>) -> Fused {
        let mut fused = Fused {
            insts: SmallVec::new(),
            leaves: SmallVec::new(),
            scalars: SmallVec::new(),
            shape: root.shape.clone(),
            device: root.device.clone(),
        };
        // Post order with a list of our own: graphs may be deep. A node met twice is emitted once.
        let mut done = Emitted::default();
        let mut stack: SmallVec<[(&Arc<Node>, bool); 16]> = smallvec![(root, false)];
        while let Some((node, ready)) = stack.pop() {
            let id = Arc::as_ptr(node);
            if done.get(id).is_some() {
                continue;
            }
            if !ready && !node.children().is_empty() {
                stack.push((node, true));
                stack.extend(node.children().iter().map(|c| (c, false)));
                continue;
            }
            // Children come first.
            let at = |n: &Arc<Node>| done.get(Arc::as_ptr(n)).unwrap_or_default();
            let op = match &node.kind {
                Kind::Leaf(array) => fused.leaf(Some(array), &array.layout, array.dtype),
                Kind::Iota(layout) => fused.leaf(None, layout, DType::U64),
                Kind::Scalar(value) => {
                    fused.scalars.push(*value);
                    Op::Scalar(fused.scalars.len() as u32 - 1)
                }
                Kind::Result(id) => Op::Result(*id),
                Kind::Unary(op, a) => Op::Unary(*op, at(a)),
                Kind::Binary(op, [a, b]) => Op::Binary(*op, [at(a), at(b)]),
                Kind::Ternary(op, [a, b, c]) => Op::Ternary(*op, [at(a), at(b), at(c)]),
                Kind::Cast(a) => Op::Cast(at(a)),
            };
            done.insert(id, fused.insts.len() as u32);
            fused.insts.push(Inst { op, dtype: node.dtype });
        }
        fused
    }

    fn leaf(&mut self, array: Option<&RawArray>, layout: &Layout, dtype: DType) -> Op {
        let same = |l: &Leaf| {
            l.layout == *layout
                && l.dtype == dtype
                && match (&l.array, array) {
                    (Some(a), Some(b)) => Arc::ptr_eq(&a.buffer, &b.buffer),
                    (None, None) => true,
                    _ => false,
                }
        };
        let k = self.leaves.iter().position(same).unwrap_or_else(|| {
            self.leaves.push(Leaf { array: array.cloned(), layout: layout.clone(), dtype });
            self.leaves.len() - 1
        });
        Op::Leaf(k as u32)
    }

    /// Type of the expression.
    pub fn dtype(&self) -> DType {
        self.insts.last().map_or(DType::Bool, |i| i.dtype)
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// What an element costs a processor, in loads and additions, roughly.
    pub fn weight(&self) -> usize {
        self.insts.iter().map(|i| if i.op.is_heavy() { 16 } else { 1 }).sum()
    }

    /// Refuses types that the device does not compute in.
    pub fn check(&self, op: &'static str, device: &Device) -> Result<()> {
        self.check_epilogue(op, device, None)
    }

    /// The same for the epilogue of operation `id`, the only place where its result has a value.
    pub fn check_epilogue(&self, op: &'static str, device: &Device, id: Option<u64>) -> Result<()> {
        self.insts.iter().try_for_each(|i| match i.op {
            Op::Result(other) if id != Some(other) => Err(Error::argument(
                op,
                "the expression contains the result of a product from inside its `map`; it has a value only there",
            )),
            _ => device.require(op, i.dtype),
        })
    }

    /// The loops over the axes in `order` (outermost first), merged where leaves and output allow.
    pub fn nest(&self, order: &[usize], out: Option<&Layout>) -> Nest {
        let pick = |s: &[isize]| -> Strides { order.iter().map(|&a| s[a]).collect() };
        let mut strides: SmallVec<[Strides; 4]> =
            self.leaves.iter().map(|l| pick(&l.layout.broadcast_strides(&self.shape))).collect();
        if let Some(out) = out {
            strides.push(pick(&out.strides));
        }
        let shape: Dims = order.iter().map(|&a| self.shape[a]).collect();
        let (mut dims, mut strides) = coalesce(&shape, &strides);
        // One element is an axis of length one, walked as a longer one would be, so that it does
        // not make a class of layouts of its own.
        if dims.is_empty() {
            dims.push(1);
            let ranks = self.leaves.iter().map(|l| l.layout.shape.len()).chain([1]);
            for (s, rank) in strides.iter_mut().zip(ranks) {
                s.push(isize::from(rank > 0));
            }
        }
        Nest { dims, strides }
    }

    /// The order of axes in which the widest leaves lie in memory, outermost first: results are
    /// laid out that way, so that an expression over transposed arrays still streams.
    pub fn memory_order(&self) -> Dims {
        let natural: Dims = (0..self.shape.len()).collect();
        let mut full = self.leaves.iter().filter(|l| l.layout.shape == self.shape);
        let Some(first) = full.next() else { return natural };
        if first.layout.is_contiguous() || full.any(|l| l.layout.is_contiguous()) {
            return natural;
        }
        let strides = &first.layout.strides;
        let mut order = natural;
        order.sort_by_key(|&a| std::cmp::Reverse(strides[a].unsigned_abs()));
        order
    }
}

/// Which instruction each node became. A list searched from its end while it is short, which
/// nearly all are; a table beyond, because graphs may have thousands of nodes.
#[derive(Default)]
struct Emitted {
    list: SmallVec<[(*const Node, u32); Emitted::SHORT]>,
    table: HashMap<*const Node, u32, BuildHasherDefault<PointerHasher>>,
}

impl Emitted {
    const SHORT: usize = 16;

    fn get(&self, node: *const Node) -> Option<u32> {
        if self.table.is_empty() {
            self.list.iter().rev().find(|(n, _)| *n == node).map(|&(_, k)| k)
        } else {
            self.table.get(&node).copied()
        }
    }

    fn insert(&mut self, node: *const Node, at: u32) {
        if self.table.is_empty() && self.list.len() < Emitted::SHORT {
            self.list.push((node, at));
        } else {
            self.table.extend(self.list.drain(..));
            self.table.insert(node, at);
        }
    }
}

/// Spreads addresses; nobody chooses them, so no stronger hash is needed.
#[derive(Default)]
struct PointerHasher(u64);

impl Hasher for PointerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing (Knuth, "The Art of Computer Programming" 3, 6.4): good high bits,
        // which the table uses for its tags, and after the rotation good low bits.
        self.0 = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20);
    }
}
