//! Stored bytes that have gone bad: headers and bodies that nobody wrote give an error, never a
//! panic; pages come back.

/// One object and one page.
pub fn run(data: &[u8]) {
    memfold_stores::bodies::check(data);
}
