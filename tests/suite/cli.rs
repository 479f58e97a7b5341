//! The command line as its users see it: what it prints where, and with which exit code.

mod arguments;
mod branches;
mod output;
mod project;
mod quickstart;
mod session;
mod statements;
