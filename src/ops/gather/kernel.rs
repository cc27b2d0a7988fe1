//! What the kernels of gather and scatter have in common: the indices, their note, the loops.

use super::indexed::Indexed;
use crate::device::{Device, DeviceKind};
use crate::error::Result;
use crate::opencl::codegen::{self, Input};
use crate::opencl::notes::{self, Slot};
use crate::opencl::{ClDevice, Launch, Point};
use crate::ops::map;

/// A kernel over the elements that indices name.
pub(super) struct Kernel<'a> {
    indexed: &'a Indexed,
    pub input: Input<'a>,
    point: Point,
    /// Bytes of a value.
    size: usize,
    /// Lone work-items, in place of as many as elements want.
    tasks: Option<usize>,
    /// They take whole rows.
    rows: bool,
}

impl<'a> Kernel<'a> {
    pub fn new(device: &ClDevice, indexed: &'a Indexed, size: usize) -> Kernel<'a> {
        let mut input = Input::new(&indexed.fused, &indexed.nest, device.point);
        input.wide = indexed.is_wide();
        let point = Self::point(device, input.vec);
        Kernel { indexed, input, point, size, tasks: None, rows: false }
    }

    /// H200, 2^28 f32 by random `u32`, 10^9 elements a second: `take` with vectors, unroll 1 / 2 / 4, 35.9 /
    /// 35.8 / 35.6, without, 2 / 4 / 8, 36.0 / 35.9 / 35.6; `scatter_add` to 2^20 places 94.9 to 95.7,
    /// whatever it is.
    fn point(device: &ClDevice, vec: usize) -> Point {
        let unroll = match (device.launch_kind, vec) {
            (DeviceKind::Cpu, _) => 1,
            (_, 1) => 4,
            _ => 1,
        };
        Point { unroll, ..device.point }
    }

    /// Whole rows by lone work-items where a CPU is better off so, and indices name rows. Up to `most` elements.
    pub fn by_rows(mut self, device: &ClDevice, most: usize) -> Kernel<'a> {
        let n = self.indexed.count();
        if self.indexed.has_rows() && n <= most {
            self.tasks = map::row_tasks(device, &self.indexed.nest, self.input.vec, n);
        }
        if self.tasks.is_some() {
            self.rows = true;
            (self.point.group, self.point.unroll) = (1, 1);
        }
        self
    }

    /// So many lone work-items, which all see every element, one at a time.
    pub fn alone(mut self, tasks: usize) -> Kernel<'a> {
        self.tasks = Some(tasks);
        self.input.vec = 1;
        (self.point.group, self.point.unroll) = (1, 1);
        self
    }

    /// Gives vectors up, where values do not allow them.
    pub fn scalar(&mut self, device: &ClDevice) {
        self.input.vec = 1;
        self.point = Self::point(device, 1);
    }

    /// Everything that the text depends on; `more` is the family's.
    pub fn key(&self, more: &[u8]) -> Vec<u8> {
        let mut key = vec![self.size as u8, u8::from(self.rows)];
        key.extend(more);
        self.point.key(&mut key);
        codegen::stride_key(&mut key, self.indexed.base());
        self.input.key(&mut key);
        key
    }

    /// The whole text; `types` is the family's, and `item` what it moves.
    pub fn text(&self, device: &ClDevice, types: &str, item: &str, source: &str) -> String {
        let (base, dims) = (self.indexed.base(), self.indexed.nest.dims.len());
        let rows = match self.rows {
            false => String::new(),
            true => format!(
                "{}{}#define CLAN_ROW d{}\n",
                self.input.row_text(),
                base_text(
                    "row_",
                    "const clan_ix row, const clan_ix j",
                    base,
                    &codegen::row_coordinates(dims)
                ),
                dims - 1
            ),
        };
        [
            &codegen::defines(device, self.input.wide, self.point),
            codegen::PRELUDE,
            types,
            &self.input.text(),
            &notes::text(self.input.fused.dtype(), self.input.wide),
            &format!("#define CLAN_BASE_PARAMS {}\n", codegen::output_params(base)),
            &base_text("", "const clan_ix i", base, &codegen::coordinates("i", dims)),
            &rows,
            &store_text(self.input.vec, item, self.size),
            source,
        ]
        .concat()
    }

    /// Calls `run(slot, [first, end])` for all elements, `most` at a time.
    pub fn launches(
        &self,
        device: &ClDevice,
        on: &Device,
        most: usize,
        mut run: impl FnMut(&Slot, [usize; 2]) -> Result<()>,
    ) -> Result<()> {
        let n = self.indexed.count();
        let mut first = 0;
        while first < n {
            let end = n.min(first + most);
            let range = self.indexed.range;
            let tell = Box::new(move |at: usize, index| range.outside(first + at, index));
            device.notes.launch(device, on, tell, |slot| run(slot, [first, end]))?;
            first = end;
        }
        Ok(())
    }

    /// Sets the arguments from `len` on and starts.
    ///
    /// # Safety
    /// As [`Launch::run`].
    pub unsafe fn run(
        &'a self,
        mut launch: Launch<'a>,
        slot: &'a Slot,
        [first, end]: [usize; 2],
    ) -> Result<()> {
        let (indexed, wide) = (self.indexed, self.input.wide);
        let keys = notes::is_wide(self.input.fused.dtype(), wide);
        codegen::bind_index(&mut launch, indexed.len, keys)?;
        codegen::bind_offset(&mut launch, indexed.step, wide)?;
        launch.note(slot)?;
        codegen::bind_output(&mut launch, indexed.offset, indexed.base(), wide)?;
        self.input.bind(&mut launch)?;
        let per_group = self.point.group * self.point.unroll * self.input.vec;
        let groups = self.tasks.unwrap_or((end - first).div_ceil(per_group));
        // SAFETY: the caller's promise.
        unsafe { launch.run([groups, 1, 1], [self.point.group, 1, 1]) }
    }
}

/// `CLAN_BASE_AT(i)`: where the place of an element starts; `CLAN_BASE_ROW_AT(row, j)`, by its row.
fn base_text(by: &str, of: &str, base: &[isize], coordinates: &str) -> String {
    let (at, args) = (codegen::position("oo", "so_", base), codegen::output_args(base));
    let names: Vec<&str> = of.split(", ").filter_map(|of| of.rsplit(' ').next()).collect();
    let (names, macro_name) = (names.join(", "), by.to_uppercase());
    format!(
        "static inline clan_off clan_base_{by}at({of} CLAN_BASE_PARAMS CLAN_PARAMS) {{\n{coordinates}  return {at};\n}}\n#define CLAN_BASE_{macro_name}AT({names}) clan_base_{by}at({names}{args} CLAN_ARGS)\n"
    )
}

/// `CLAN_STORE` and `CLAN_LOADS`: neighbouring items, in words of up to 16 bytes.
fn store_text(vec: usize, item: &str, size: usize) -> String {
    let width = (16 / size).min(vec);
    if width == 1 {
        return format!(
            "#define CLAN_STORE(out, i, w) for (int q = 0; q < {vec}; q++) (out)[(i) + q] = (w)[q]\n#define CLAN_LOADS(i, w) for (int q = 0; q < {vec}; q++) (w)[q] = CLAN_LOAD((i) + q)\n"
        );
    }
    let (mut store, mut load) = (String::new(), String::new());
    for part in (0..vec).step_by(width) {
        let lanes: Vec<String> = (part..part + width).map(|q| format!("(w)[{q}]")).collect();
        let list = lanes.join(", ");
        store.push_str(&format!(
            "*(__global {item}{width}*)((out) + (i) + {part}) = ({item}{width})({list}); "
        ));
        load.push_str(&format!(
            "{{ const {item}{width} q = *(__global const {item}{width}*)(values + from + (i) + {part}); "
        ));
        for (q, lane) in lanes.iter().enumerate() {
            load.push_str(&format!("{lane} = q.s{q:x}; "));
        }
        load.push_str("} ");
    }
    format!("#define CLAN_STORE(out, i, w) {{ {store}}}\n#define CLAN_LOADS(i, w) {{ {load}}}\n")
}
