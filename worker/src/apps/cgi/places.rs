//! How many programs run at once, and how many requests may wait for a place. Knows neither.

use std::{cell::Cell, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Requests that may wait, for each place: a burst is smoothed, an overload is told at once.
const WAITING_PER_PLACE: u32 = 4;
/// Longest wait; whoever waits longer is better told to come again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The places of one worker.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
    waiting: Cell<u32>,
    most_waiting: u32,
}

/// Everything is taken, and so is the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Places {
    pub(super) fn new(count: u32) -> Self {
        Self {
            free: Semaphore::new(count as usize),
            waiting: Cell::new(0),
            most_waiting: count.saturating_mul(WAITING_PER_PLACE),
        }
    }

    /// A place, in the order of arrival; free again when it is dropped.
    ///
    /// # Errors
    /// [`Full`], at once or after the longest wait.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, Full> {
        if let Ok(place) = self.free.try_acquire() {
            return Ok(place);
        }
        if self.waiting.get() >= self.most_waiting {
            return Err(Full);
        }
        let _waiting = Waiting::new(&self.waiting);
        match timeout(LONGEST_WAIT, self.free.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Full),
        }
    }
}

/// Counts one who waits, also one who gives up.
struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
