//! Cuts expressions that one kernel cannot take into several.

use super::fused::Fused;
use super::node::{Kind, Node};
use crate::device::Device;
use crate::error::Result;
use crate::ops::map;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most instructions in one kernel; beyond it compile times grow faster than what fusing saves.
const MAX_INSTRUCTIONS: usize = 512;

/// The expression ready for its device, with parts computed into temporaries where one kernel
/// cannot take all of it.
pub(crate) fn fuse(root: &Arc<Node>) -> Result<Fused> {
    let fused = Fused::new(root);
    let Some(device) = &root.device else { return Ok(fused) };
    // A leaf takes a pointer, an offset and a stride an axis; the family's own arguments and the
    // lengths of the axes come on top.
    let rank = root.shape.len();
    let leaf = 16 + 8 * rank;
    let own = 128 + 24 * rank;
    let room = (device.info().argument_bytes.saturating_sub(own) / leaf).clamp(4, 64);
    if fused.leaves.len() + fused.scalars.len() <= room && fused.insts.len() <= MAX_INSTRUCTIONS {
        return Ok(fused);
    }
    Ok(Fused::new(&split(root, room)?))
}

/// As [`fuse`], and the device to compute on: the best one where the expression has no array.
pub(crate) fn fuse_somewhere(root: &Arc<Node>) -> Result<(Fused, Device)> {
    if let Some(device) = &root.device {
        return Ok((fuse(root)?, device.clone()));
    }
    let device = Device::best()?;
    Ok((Fused::new(&root.with(root.dtype, &root.shape, Some(&device))), device))
}

/// Whether one kernel takes all of an expression beside `own` bytes of other arguments.
pub(crate) fn fits(fused: &Fused, device: &Device, own: usize) -> bool {
    let leaf = 16 + 8 * fused.shape.len();
    let own = own + 24 * fused.shape.len();
    let room = device.info().argument_bytes.saturating_sub(own) / leaf;
    fused.leaves.len() + fused.scalars.len() <= room.min(64)
        && fused.insts.len() <= MAX_INSTRUCTIONS
}

/// The same expression with `value` in the place of the result of operation `id`.
pub(crate) fn replace(root: &Arc<Node>, id: u64, value: &Arc<Node>) -> Result<Arc<Node>> {
    let mut new: HashMap<*const Node, Arc<Node>> = HashMap::new();
    for node in post_order(root) {
        let replaced = match node.kind {
            Kind::Result(other) if other == id => value.clone(),
            _ => rebuild(&node, |c| new[&Arc::as_ptr(c)].clone())?,
        };
        new.insert(Arc::as_ptr(&node), replaced);
    }
    Ok(new.remove(&Arc::as_ptr(root)).unwrap_or_else(|| root.clone()))
}

/// Makes an equal expression that has at most `max_leaves` distinct arrays and a bounded number of
/// instructions, by computing parts of it into temporaries.
///
/// Half floats stay in the `f32` they are computed in across a cut, so where the cuts fall does
/// not change a result.
fn split(root: &Arc<Node>, max_leaves: usize) -> Result<Arc<Node>> {
    let order = post_order(root);
    // For every rewritten node: what it costs, as the sets of leaves and of inner nodes below it.
    struct Part {
        node: Arc<Node>,
        below: HashSet<*const Node>,
        leaves: HashSet<*const Node>,
    }
    impl Part {
        fn of(node: Arc<Node>) -> Part {
            let id = Arc::as_ptr(&node);
            Part { below: HashSet::from([id]), leaves: HashSet::from([id]), node }
        }
    }
    let mut parts: HashMap<*const Node, Part> = HashMap::new();
    for node in order {
        let id = Arc::as_ptr(&node);
        let children: Vec<*const Node> = node.children().iter().map(Arc::as_ptr).collect();
        if children.is_empty() {
            parts.insert(id, Part::of(node));
            continue;
        }
        let union = |parts: &HashMap<*const Node, Part>| {
            let mut below = HashSet::new();
            let mut leaves = HashSet::new();
            for c in &children {
                below.extend(&parts[c].below);
                leaves.extend(&parts[c].leaves);
            }
            (below, leaves)
        };
        let (mut below, mut leaves) = union(&parts);
        // Compute the heaviest operands first until this node fits.
        while leaves.len() > max_leaves || below.len() >= MAX_INSTRUCTIONS {
            let heaviest = children
                .iter()
                .filter(|c| !parts[c].node.children().is_empty())
                .max_by_key(|c| (parts[c].leaves.len(), parts[c].below.len()));
            let Some(c) = heaviest else { break };
            let value = map::eval_fitting(&widen(&parts[c].node))?;
            let leaf = narrow(Node::leaf(value), parts[c].node.dtype);
            let part = Part::of(leaf);
            parts.insert(*c, part);
            (below, leaves) = union(&parts);
        }
        let rebuilt = rebuild(&node, |c| parts[&Arc::as_ptr(c)].node.clone())?;
        below.insert(Arc::as_ptr(&rebuilt));
        parts.insert(id, Part { node: rebuilt, below, leaves });
    }
    Ok(parts.remove(&Arc::as_ptr(root)).map_or_else(|| root.clone(), |p| p.node))
}

/// Half floats as the `f32` they are computed in, without rounding. A cast has rounded already.
fn widen(node: &Arc<Node>) -> Arc<Node> {
    if matches!(node.kind, Kind::Cast(_)) {
        return node.clone();
    }
    retype(node, node.dtype.compute())
}

/// The inverse of [`widen`]: a leaf of `f32` that stands for an unrounded half float.
fn narrow(leaf: Arc<Node>, dtype: crate::element::DType) -> Arc<Node> {
    retype(&leaf, dtype)
}

fn retype(node: &Arc<Node>, dtype: crate::element::DType) -> Arc<Node> {
    match node.dtype == dtype {
        true => node.clone(),
        false => node.with(dtype, &node.shape, node.device.as_ref()),
    }
}

fn rebuild(node: &Arc<Node>, new: impl Fn(&Arc<Node>) -> Arc<Node>) -> Result<Arc<Node>> {
    if node.children().iter().all(|c| Arc::ptr_eq(&new(c), c)) {
        return Ok(node.clone());
    }
    let kind = match &node.kind {
        Kind::Unary(op, a) => Kind::Unary(*op, new(a)),
        Kind::Binary(op, [a, b]) => Kind::Binary(*op, [new(a), new(b)]),
        Kind::Ternary(op, [a, b, c]) => Kind::Ternary(*op, [new(a), new(b), new(c)]),
        Kind::Cast(a) => Kind::Cast(new(a)),
        Kind::Leaf(_) | Kind::Iota(_) | Kind::Scalar(_) | Kind::Result(_) => {
            return Ok(node.clone());
        }
    };
    Ok(Arc::new(Node {
        kind,
        dtype: node.dtype,
        shape: node.shape.clone(),
        device: node.device.clone(),
    }))
}

fn post_order(root: &Arc<Node>) -> Vec<Arc<Node>> {
    let mut order = Vec::new();
    let mut seen: HashSet<*const Node> = HashSet::new();
    let mut stack = vec![(root.clone(), false)];
    while let Some((node, ready)) = stack.pop() {
        if ready {
            order.push(node);
        } else if seen.insert(Arc::as_ptr(&node)) {
            let children: Vec<_> = node.children().iter().map(|c| (c.clone(), false)).collect();
            stack.push((node, true));
            stack.extend(children);
        }
    }
    order
}
