//! Runs physical plans: the engine is asynchronous, everything around it is not. Ordinary statements share one runtime;
//! a statement inside another one gets a thread and a runtime of its own, because the shared workers may all be waiting
//! for exactly that statement.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, StreamExt};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::unconstrained;

use super::fault;
use super::interrupt::{Stop, interruptible};
use super::token::Token;
use crate::error::{Error, Result, codes};

/// Batches that wait for a slow reader.
const WAITING_MAX: usize = 2;

/// The batches of a running plan, in the order they come.
pub(crate) struct Batches {
    schema: SchemaRef,
    receiver: Option<Receiver<Result<RecordBatch>>>,
    token: Token,
    stop: Stop,
}

/// Starts a plan. Dropping the batches ends it.
pub(crate) fn start(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    token: &Token,
    nested: bool,
) -> Result<Batches> {
    let (sender, receiver) = channel(WAITING_MAX);
    let schema = plan.schema();
    let stop = Stop::new(token);
    let plan = interruptible(plan, &stop).map_err(|error| fault::fold(&error))?;
    let drive = drive(plan, task, sender, token.clone());
    if nested || Handle::try_current().is_ok() {
        let runtime = Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
        let named = std::thread::Builder::new().name("kodiak-nested".to_owned());
        named.spawn(move || runtime.block_on(drive)).map_err(no_thread)?;
    } else {
        shared()?.spawn(drive);
    }
    Ok(Batches { schema, receiver: Some(receiver), token: token.clone(), stop })
}

/// Waits for something that needs no runtime, such as planning, and turns a panic into an error.
pub(crate) fn wait<T>(future: impl Future<Output = Result<T, DataFusionError>>) -> Result<T> {
    let outcome = block_on(unconstrained(AssertUnwindSafe(future).catch_unwind()));
    outcome.map_err(|payload| fault::panicked(payload.as_ref()))?.map_err(|error| fault::fold(&error))
}

/// Runs what may panic inside the engine, and turns the panic into an error.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(fault::panicked(payload.as_ref())))
}

/// Polls on this thread until the future is done. The ready-made executors refuse to run inside one another, but whoever
/// embeds Kodiak may well call it from a task of some executor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_here(None, |context| future.as_mut().poll(context)).expect("without a deadline it waits for the future")
}

/// Polls on this thread until something is ready, or the deadline has passed.
fn poll_here<T>(deadline: Option<Instant>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut context) {
            return Some(value);
        }
        // A stray unpark only makes another poll.
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

fn shared() -> Result<&'static Runtime> {
    static RUNTIME: LazyLock<std::io::Result<Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().thread_name("kodiak-query").enable_time().build());
    RUNTIME.as_ref().map_err(|error| Error::new(codes::INTERNAL, format!("no threads for queries: {error}")))
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(codes::INTERNAL, format!("no thread for a nested statement: {error}"))
}

async fn drive(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    sender: Sender<Result<RecordBatch>>,
    token: Token,
) {
    let work = async {
        let mut stream = execute_stream(plan, task)?;
        while let Some(batch) = stream.next().await {
            if sender.send(Ok(batch?)).await.is_err() {
                break;
            }
        }
        Ok::<(), DataFusionError>(())
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    let error = tokio::select! {
        outcome = work => match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => fault::fold(&error),
            Err(payload) => fault::panicked(payload.as_ref()),
        },
        error = token.ended() => error,
        // Rows that nobody reads are not made; a plan that has none to send would not find out otherwise.
        () = sender.closed() => return,
    };
    // Nobody is left to tell when the reader has gone.
    let _ = sender.send(Err(error)).await;
}

impl Batches {
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    /// Waits here for the end of the statement too: the workers may be too busy to notice it.
    fn next(&mut self) -> Option<Self::Item> {
        let mut receiver = self.receiver.take()?;
        // A nested statement waits on a worker of the shared runtime, whose task has a budget for cooperation; once that
        // is spent, a constrained wait would never be ready again.
        let item = {
            let mut next = pin!(unconstrained(receiver.recv()));
            let mut cancelled = pin!(unconstrained(self.token.cancelled()));
            poll_here(self.token.deadline(), |context| match next.as_mut().poll(context) {
                Poll::Ready(item) => Poll::Ready(Some(item)),
                Poll::Pending => cancelled.as_mut().poll(context).map(|()| None),
            })
        };
        let item = match item.flatten() {
            Some(item) => item,
            None => self.token.check().err().map(Err),
        };
        if matches!(item, Some(Ok(_))) {
            self.receiver = Some(receiver);
        }
        item
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop.abandon();
    }
}
