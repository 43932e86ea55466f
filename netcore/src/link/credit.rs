//! The credit of a stream as its sending task waits for it.

use polypeer_engine::link::credit::SendLimit;
use tokio::sync::Notify;

/// What the receiver of a stream has granted, as seen by its sender: set by the control stream, awaited by the pump.
#[derive(Debug, Default)]
pub struct Credit {
    limit: SendLimit,
    raised: Notify,
}

impl Credit {
    /// Raises the limit; a lower one than before changes nothing.
    pub fn raise(&self, limit: u64) {
        if self.limit.raise(limit) {
            self.raised.notify_one();
        }
    }

    /// How many of the stream's bytes may be sent in all.
    pub fn limit(&self) -> u64 {
        self.limit.bytes()
    }

    /// Waits until the limit is over `sent`. Nothing is lost when dropped.
    pub async fn beyond(&self, sent: u64) {
        while self.limit() <= sent {
            self.raised.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_engine::link::credit::INITIAL_WINDOW;

    #[tokio::test]
    async fn credit_only_rises_and_wakes_the_sender() {
        let credit = Credit::default();
        credit.raise(1);
        assert_eq!(credit.limit(), INITIAL_WINDOW);
        let waiting = credit.beyond(INITIAL_WINDOW);
        tokio::pin!(waiting);
        assert!(std::future::Future::poll(waiting.as_mut(), &mut noop()).is_pending());
        credit.raise(INITIAL_WINDOW + 1);
        waiting.await;
    }

    fn noop() -> std::task::Context<'static> {
        std::task::Context::from_waker(std::task::Waker::noop())
    }
}
