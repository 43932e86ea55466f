//! Credit of a stream, on the sending side.

use polypeer_engine::link::credit::SendLimit;
use tokio::sync::Notify;

/// The credit that a stream's receiver has granted. The control stream raises it; the sending task waits for it.
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

    /// The limit: bytes of the stream that may be sent in all.
    pub fn limit(&self) -> u64 {
        self.limit.bytes()
    }

    /// Waits until the limit exceeds `sent` bytes. Cancel safe.
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
