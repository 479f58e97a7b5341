//! Plugins that each commit one sin, and one that commits none: see `examples/`. They are built by the test suite and
//! installed into throw-away homes; nothing here is ever loaded by anything else.
