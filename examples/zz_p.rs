use clan::{Device, DeviceArray};
fn main() {
    let d = Device::host();
    let x = DeviceArray::<f32>::arange(&d, 0.0, 64.0, 1.0).unwrap();
    for _ in 0..20000 {
        std::hint::black_box(((&x * 2.0f32 + &x).abs() - 3.0f32).eval().unwrap());
    }
}
