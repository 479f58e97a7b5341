//! Ctrl-C: the first one cancels the running statement, the next one, or one while nothing runs, ends the program.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use crate::database::CancelHandle;

/// What shells expect of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const CANCELLING: u8 = 2;

/// Watches for Ctrl-C while a connection is used.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// Starts to watch. Where signals cannot be had, Ctrl-C simply ends the program.
    pub fn watch(handle: CancelHandle) -> Self {
        let state = Arc::new(AtomicU8::new(IDLE));
        let watched = Arc::clone(&state);
        let watcher = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    match watched.compare_exchange(BUSY, CANCELLING, Ordering::SeqCst, Ordering::SeqCst) {
                        Ok(_) => handle.cancel(),
                        // Nothing can be lost: what is not committed is rolled back when the database opens.
                        Err(_) => process::exit(INTERRUPTED),
                    }
                }
            });
        };
        let _ = thread::Builder::new().name("interrupt".into()).spawn(watcher);
        Self(state)
    }

    /// Runs a statement; Ctrl-C cancels it meanwhile.
    pub fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        self.0.store(BUSY, Ordering::SeqCst);
        let result = run();
        self.0.store(IDLE, Ordering::SeqCst);
        result
    }
}
