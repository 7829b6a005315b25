//! Tells up to where work is done, if its parts end in any order.

use std::collections::VecDeque;

/// Tracks parts of work that start in order and end in any order. Everything up to the position
/// that [`complete`](Self::complete) returns is done.
#[derive(Debug)]
pub(super) struct CompletedPrefix<P> {
    /// The parts that started and are not in the prefix yet, the oldest first: where each ends,
    /// and whether it is done.
    parts: VecDeque<(P, bool)>,
    /// The number of the first of them.
    first: u64,
}

impl<P> Default for CompletedPrefix<P> {
    fn default() -> Self {
        Self { parts: VecDeque::new(), first: 0 }
    }
}

impl<P> CompletedPrefix<P> {
    /// Starts the next part, which ends at this position. Returns its number.
    pub(super) fn start(&mut self, end: P) -> u64 {
        self.parts.push_back((end, false));
        self.first + self.parts.len() as u64 - 1
    }

    /// Notes that a part is done. Returns the end of the prefix, if it has grown.
    pub(super) fn complete(&mut self, number: u64) -> Option<P> {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok())?;
        self.parts.get_mut(at)?.1 = true;
        let mut end = None;
        while self.parts.front().is_some_and(|(_, is_done)| *is_done) {
            end = self.parts.pop_front().map(|(position, _)| position);
            self.first += 1;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_before_its_end_is_open_and_in_the_end_all_is_done(order in Just((0_u64..12).collect::<Vec<_>>()).prop_shuffle()) {
            let mut prefix = CompletedPrefix::default();
            for part in 0..12_u64 {
                prop_assert_eq!(prefix.start(part), part);
            }
            let (mut done, mut end) = (Vec::new(), None);
            for part in order {
                done.push(part);
                end = prefix.complete(part).or(end);
                let expected = (0..12).take_while(|part| done.contains(part)).last();
                prop_assert_eq!(end, expected);
            }
            prop_assert_eq!(end, Some(11));
        }
    }

    #[test]
    fn parts_may_start_after_others_are_done() {
        let mut prefix = CompletedPrefix::default();
        let (a, b) = (prefix.start('a'), prefix.start('b'));
        assert_eq!(prefix.complete(a), Some('a'));
        let c = prefix.start('c');
        assert_eq!((prefix.complete(c), prefix.complete(b)), (None, Some('c')));
        assert_eq!(prefix.complete(b), None);
    }
}
