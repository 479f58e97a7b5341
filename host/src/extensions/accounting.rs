//! What each extension cost this process: calls, rows, time, panics. It refuses to judge; `kodiak.extension_stats`
//! shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

/// Totals of one extension in this process.
#[derive(Debug, Default)]
pub struct Account {
    calls: AtomicU64,
    rows: AtomicU64,
    nanoseconds: AtomicU64,
    panics: AtomicU64,
}

/// Totals at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The extension.
    pub extension: String,
    /// Calls into its plugin.
    pub calls: u64,
    /// Rows that it took or gave.
    pub rows: u64,
    /// Time spent in it.
    pub nanoseconds: u64,
    /// Panics.
    pub panics: u64,
}

static ACCOUNTS: LazyLock<Mutex<BTreeMap<String, Arc<Account>>>> = LazyLock::new(Mutex::default);

/// The account of an extension.
pub(crate) fn account(extension: &str) -> Arc<Account> {
    let mut accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    accounts.entry(extension.to_owned()).or_default().clone()
}

/// All accounts, by extension.
pub fn totals() -> Vec<Totals> {
    let accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let totals = |(extension, account): (&String, &Arc<Account>)| Totals {
        extension: extension.clone(),
        calls: read(&account.calls),
        rows: read(&account.rows),
        nanoseconds: read(&account.nanoseconds),
        panics: read(&account.panics),
    };
    accounts.iter().map(totals).collect()
}

impl Account {
    pub(crate) fn timer(&self) -> Timer<'_> {
        Timer { account: self, start: Instant::now() }
    }

    pub(crate) fn rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a call and its time when dropped.
pub(crate) struct Timer<'a> {
    account: &'a Account,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let spent = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.account.calls.fetch_add(1, Ordering::Relaxed);
        self.account.nanoseconds.fetch_add(spent, Ordering::Relaxed);
    }
}
