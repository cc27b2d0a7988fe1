//! How the rows of a matrix are dealt out: blocks of about equal work, made once.

/// Work-items of a group that blocks are made for, and the most rows of a block.
///
/// H200, five-point Laplacian of 4096², f32, GB/s by groups of 128 / 256 / 512, a row a work-item: elements
/// loaded one by one 4053 / 4013 / 3916, by four 4202 / 4140 / 4049. With blocks of 8 elements a work-item, of
/// which some stay without a row: 3365 / 3296.
pub(super) const GROUP: usize = 128;

/// Numbers of a block: first row, end of the rows, first element, end of the elements. Where the first two are
/// equal it is a part of one row, and they are the place of its sum among the partial sums.
pub(super) const BLOCK: usize = 4;

/// Numbers of a join: row, first partial sum, end of its partial sums.
pub(super) const JOIN: usize = 3;

pub(super) struct Plan {
    /// The most elements of a block.
    pub tile: usize,
    pub blocks: Vec<u64>,
    pub joins: Vec<u64>,
    /// Partial sums in all.
    pub partials: usize,
    /// Whether every row is short enough for one work-item.
    pub short: bool,
}

/// Elements up to which a row is short.
const SHORT: usize = 16;

impl Plan {
    /// Rows whose elements begin at `starts`; after the last row it has their end.
    pub fn new(starts: &[usize]) -> Plan {
        let rows = starts.len() - 1;
        let mean = starts[rows].div_ceil(rows.max(1));
        // So that rows of the mean length make a block of one row a work-item.
        let tile = GROUP * mean.clamp(2, 8);
        let mut plan =
            Plan { tile, blocks: Vec::new(), joins: Vec::new(), partials: 0, short: true };
        let mut first = 0;
        let block = |blocks: &mut Vec<u64>, numbers: [usize; BLOCK]| {
            blocks.extend(numbers.map(|n| n as u64));
        };
        for row in 0..rows {
            let long = starts[row + 1] - starts[row] > tile;
            plan.short &= starts[row + 1] - starts[row] <= SHORT;
            let full = row - first == GROUP || starts[row + 1] - starts[first] > tile;
            if (long || full) && row > first {
                block(&mut plan.blocks, [first, row, starts[first], starts[row]]);
                first = row;
            }
            if long {
                let slot = plan.partials;
                for from in (starts[row]..starts[row + 1]).step_by(tile) {
                    let to = starts[row + 1].min(from + tile);
                    block(&mut plan.blocks, [plan.partials, plan.partials, from, to]);
                    plan.partials += 1;
                }
                plan.joins.extend([row, slot, plan.partials].map(|n| n as u64));
                first = row + 1;
            }
        }
        if rows > first {
            block(&mut plan.blocks, [first, rows, starts[first], starts[rows]]);
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is in one block, in order; every row is in one block or one join.
    fn check(lengths: &[usize]) {
        let mut starts = vec![0];
        for n in lengths {
            starts.push(starts[starts.len() - 1] + n);
        }
        let plan = Plan::new(&starts);
        let (mut element, mut row, mut slot) = (0, 0, 0);
        let mut joins = plan.joins.chunks(JOIN);
        let mut join: Option<&[u64]> = None;
        for block in plan.blocks.chunks(BLOCK) {
            let [first, end, from, to] = [0, 1, 2, 3].map(|i| block[i] as usize);
            assert_eq!(from, element);
            assert!(to - from <= plan.tile);
            element = to;
            if first == end {
                assert_eq!(first, slot);
                slot += 1;
                let of = *join.get_or_insert_with(|| joins.next().unwrap());
                assert_eq!(of[0] as usize, row);
                if of[2] as usize == slot {
                    row += 1;
                    join = None;
                }
            } else {
                assert!(end - first <= GROUP && join.is_none());
                assert_eq!((first, starts[first], starts[end]), (row, from, to));
                row = end;
            }
        }
        assert_eq!((element, row, slot), (starts[lengths.len()], lengths.len(), plan.partials));
        assert!(joins.next().is_none());
    }

    #[test]
    fn blocks_hold_everything_once() {
        check(&[]);
        check(&[0]);
        check(&[5; 1000]);
        check(&[0; 1000]);
        check(&[10_000]);
        check(&[256, 257, 0, 1]);
        let uneven: Vec<usize> =
            (0..2000).map(|i| if i % 700 == 3 { 9000 } else { i % 7 }).collect();
        check(&uneven);
        check(&[300; 50]);
    }
}
