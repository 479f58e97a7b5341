//! The tests of the whole, in one binary so that it links once: each module proves one promise from the outside.

mod abi_matrix;
mod slt;
mod tidy;
