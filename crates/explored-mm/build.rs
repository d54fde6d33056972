//! Sets the configurations under which the shared sources choose loom and show their race models, for this package alone.
#![forbid(unsafe_code)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rustc-cfg=explored");
}
