use super::*;

fn entry_of(values: &[u32]) -> Entry {
    Entry {
        values: Values::from_slice(values),
        driver: "1.0\tof\nsomebody".into(),
        cost: 0.75,
        before: 3.0,
        after: 4.0,
        unit: "GB/s".into(),
    }
}

fn store(name: &str) -> Store {
    let file = format!("clan-store-{name}-{}.txt", std::process::id());
    Store { path: std::env::temp_dir().join(file), device: "a device".into() }
}

fn any(_: &Space, _: DType, _: &[u32]) -> bool {
    true
}

/// Two entries, as they are read again.
fn entries() -> HashMap<Key, Entry> {
    let clean = |e: Entry| Entry { driver: "1.0 of somebody".into(), ..e };
    HashMap::from([
        (("map", DType::F32, Class::ALL), clean(entry_of(&[128, 16, 2]))),
        (("matmul_direct", DType::F64, Class(7)), clean(entry_of(&[64, 2, 2]))),
    ])
}

#[test]
fn what_is_written_is_read() {
    let store = store("round");
    assert!(store.read(&any).unwrap().is_empty(), "no file");
    let mut written = entries();
    for e in written.values_mut() {
        e.driver = "1.0\tof\nsomebody".into();
    }
    store.write(&written).unwrap();
    assert_eq!(store.read(&any).unwrap(), entries());
    // What the device cannot run is left out.
    let some = store.read(&|s, _, _| s.name == "map").unwrap();
    assert_eq!(some.keys().map(|k| k.0).collect::<Vec<_>>(), ["map"]);
    let other = Store { device: "another device".into(), ..store.clone() };
    assert!(other.read(&any).unwrap_err().contains("another device"));
    std::fs::remove_file(&store.path).unwrap();
}

#[test]
fn a_store_that_was_cut_or_edited_is_not_believed() {
    let store = store("edited");
    store.write(&entries()).unwrap();
    let whole = std::fs::read(&store.path).unwrap();
    for n in 0..whole.len() {
        std::fs::write(&store.path, &whole[..n]).unwrap();
        let error = store.read(&any).expect_err("cut short");
        assert!(error.contains("clan tune"), "{error}");
    }
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        std::fs::write(&store.path, &bad).unwrap();
        assert!(store.read(&any).is_err(), "byte {at} changed");
    }
    std::fs::remove_file(&store.path).unwrap();
}

/// A file with a right checksum around `line`.
fn read_line(name: &str, line: &str) -> usize {
    let store = store(name);
    let body = format!("{HEAD}\ndevice\t{}\n{line}", store.device);
    let text = format!("{body}\nsum\t{:016x}\n", fnv(body.as_bytes(), 0));
    std::fs::write(&store.path, text).unwrap();
    let read = store.read(&any).unwrap().len();
    std::fs::remove_file(&store.path).unwrap();
    read
}

#[test]
fn lines_that_no_longer_hold_are_left_out() {
    let source = space_named("map").unwrap().source;
    let hash = format!("{:016x}", fnv(source.as_bytes(), 0));
    let good =
        format!("map\tf32\t0\t{hash}\tdriver\tgroup=128 vector=16 unroll=2\t0.5\t1\t2\tGB/s");
    assert_eq!(read_line("good", &good), 1);
    for (name, from, to) in [
        ("kernel", hash.as_str(), "0123456789abcdef"),
        ("space", "map\t", "nap\t"),
        ("type", "f32", "f33"),
        ("parameter", "group=", "croup="),
        ("value", "group=128", "group=129"),
        ("fewer", " unroll=2", ""),
        ("more", "unroll=2", "unroll=2 pad=1"),
        ("cost", "\t0.5\t", "\t-0.5\t"),
        ("nan", "\t0.5\t", "\tNaN\t"),
        ("fields", "\tGB/s", ""),
    ] {
        assert_eq!(read_line(name, &good.replace(from, to)), 0, "{name}");
    }
}
