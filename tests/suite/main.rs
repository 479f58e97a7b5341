//! The tests of the whole: each module proves one promise from the outside.

mod connection;
mod extension_seams;
mod front_end;
mod slt;
