//! Passes on what `unit-sys` found out about the Unit tree.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(unit_rootfs)");
    if std::env::var("DEP_NXT_UNIT_ROOTFS").as_deref() == Ok("1") {
        println!("cargo::rustc-cfg=unit_rootfs");
    }
}
