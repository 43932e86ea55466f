//! Any operations in any order: nothing panics, and every limit holds.
