//! Tests of the whole house, with the real program and real plugins.

mod abi_matrix;
mod tidy;
