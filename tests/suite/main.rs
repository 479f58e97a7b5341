//! The tests of the whole: each module proves one promise from the outside.

mod slt;
