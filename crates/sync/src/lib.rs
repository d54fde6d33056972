//! The facade over std, loom and shuttle (see `imp`), and the ranked locks (see `lock`).
#![deny(unsafe_code)]
