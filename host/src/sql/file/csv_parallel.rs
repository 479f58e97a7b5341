//! Work on a stream of pieces by several threads, with results in the order of the pieces: one thread makes the pieces,
//! others work on them, and whoever reads the results waits for the next one only. It holds a few pieces at a time, and
//! ends its threads when nobody reads any more.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result, codes};

/// Pieces that wait, for each thread.
const WAITING: usize = 2;

type Job<P, T> = (P, SyncSender<Result<T>>);

/// Results of `work` on the pieces of `source`, in order, until the first error.
pub(super) fn in_order<P, T>(
    threads: usize,
    source: impl Iterator<Item = Result<P>> + Send + 'static,
    work: impl Fn(P) -> Result<T> + Send + Sync + 'static,
) -> Result<impl Iterator<Item = Result<T>> + Send>
where
    P: Send + 'static,
    T: Send + 'static,
{
    let threads = threads.max(1);
    let (to_workers, jobs) = sync_channel::<Job<P, T>>(threads * WAITING);
    let (to_reader, results) = sync_channel::<Receiver<Result<T>>>(threads * WAITING);
    let jobs = Arc::new(Mutex::new(jobs));
    let work = Arc::new(work);
    for _ in 0..threads {
        let (jobs, work) = (Arc::clone(&jobs), Arc::clone(&work));
        spawn(move || {
            loop {
                // The lock is held while it waits, so that exactly one thread does.
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((piece, result)) = job else { return };
                // If nobody waits for it any more, it is not needed.
                let _ = result.send(work(piece));
            }
        })?;
    }
    spawn(move || {
        for piece in source {
            let (result, place) = sync_channel(1);
            if to_reader.send(place).is_err() {
                return;
            }
            let sent = match piece {
                Ok(piece) => to_workers.send((piece, result)).is_ok(),
                Err(error) => {
                    let _ = result.send(Err(error));
                    false
                }
            };
            if !sent {
                return;
            }
        }
    })?;
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let place = results.recv().ok()?;
        let result =
            place.recv().unwrap_or_else(|_| Err(Error::new(codes::INTERNAL, "a thread that read a file failed")));
        failed = result.is_err();
        Some(result)
    }))
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let named = std::thread::Builder::new().name("kodiak-read".to_owned());
    let spawned = named.spawn(work);
    spawned.map(drop).map_err(|error| Error::new(codes::INTERNAL, format!("no thread to read a file: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_end_with_the_first_error() {
        let results: Vec<u64> = in_order(3, (0..500_u64).map(Ok), |piece| Ok(piece * 2))
            .expect("threads")
            .map(|r| r.expect("no error"))
            .collect();
        assert!(results.iter().copied().eq((0..500).map(|piece| piece * 2)));
        let fails = |piece: u64| if piece == 7 { Err(Error::new(codes::VALUE, "seven")) } else { Ok(piece) };
        let results: Vec<_> = in_order(3, (0..500_u64).map(Ok), fails).expect("threads").collect();
        assert_eq!(results.len(), 8);
        assert!(results[..7].iter().all(Result::is_ok) && results[7].is_err());
        let source = (0..500_u64).map(|piece| if piece == 9 { Err(Error::new(codes::IO, "nine")) } else { Ok(piece) });
        assert_eq!(in_order(2, source, Ok).expect("threads").filter(Result::is_ok).count(), 9);
    }

    #[test]
    fn the_threads_end_when_nobody_reads() {
        let (of_source, source_ended) = std::sync::mpsc::channel::<()>();
        let (of_work, work_ended) = std::sync::mpsc::channel::<()>();
        let source = (0_u64..).map(move |piece| {
            let _held = &of_source;
            Ok(piece)
        });
        let work = move |piece: u64| {
            let _held = &of_work;
            Ok(piece)
        };
        let mut results = in_order(2, source, work).expect("threads");
        assert_eq!(results.next().expect("one").expect("fine"), 0);
        drop(results);
        // Both wait until the last thread has let go.
        assert!(source_ended.recv().is_err() && work_ended.recv().is_err());
    }
}
