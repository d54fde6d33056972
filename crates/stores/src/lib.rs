//! memfold's stores: where the bytes of cold pages go.
//!
//! [`CompressedStore`] keeps them in memory, as small as it can: repeated words in the name itself,
//! equal pages once, clones' pages as a difference to the template's page, the rest with LZ4.
//! [`conformance`] holds the rules of the [`Store`](memfold_host::Store) seam as a test that any
//! store can be run through. `codec` says how bytes are encoded and knows nothing of memory;
//! `compressed` says where encoded bytes lie and who counts them.
#![forbid(unsafe_code)]

mod codec;
mod compressed;
pub mod conformance;

pub use compressed::CompressedStore;
#[cfg(any(test, feature = "bodies"))]
pub use compressed::bodies;
