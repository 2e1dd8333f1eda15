//! The versions that an instance was moved to and that failed there: an update passes over them, unless
//! somebody wants one again. Owns how many are remembered.

/// A version that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection<V> {
    /// The version, as whoever keeps it names it.
    pub version: V,
    /// Why.
    pub reason: String,
}

/// The versions that failed, the last one last; at most [`MOST_REJECTIONS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejections<V>(Vec<Rejection<V>>);

/// So many are remembered for one instance; the oldest is forgotten first.
pub const MOST_REJECTIONS: usize = 16;

impl<V> Default for Rejections<V> {
    fn default() -> Self {
        Rejections(Vec::new())
    }
}

impl<V: PartialEq> Rejections<V> {
    /// Remembers that a version failed; a version stands once, with its last reason.
    pub fn add(&mut self, version: V, reason: String) {
        self.forget(&version);
        if self.0.len() == MOST_REJECTIONS {
            self.0.remove(0);
        }
        self.0.push(Rejection { version, reason });
    }

    /// Forgets a version: it is wanted again, or has shown that it works.
    pub fn forget(&mut self, version: &V) {
        self.0.retain(|rejection| rejection.version != *version);
    }

    /// Why a version was rejected; `None` if it was not.
    pub fn reason(&self, version: &V) -> Option<&str> {
        self.0.iter().find(|entry| entry.version == *version).map(|entry| entry.reason.as_str())
    }

    /// All of them, the last one last.
    pub fn as_slice(&self) -> &[Rejection<V>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the whole history.
        #[test]
        fn the_last_sixteen_are_remembered_each_once(
            history in prop::collection::vec((0u8..30, any::<bool>()), 0..100)
        ) {
            let (mut kept, mut order) = (Rejections::default(), Vec::<(u8, usize)>::new());
            for (at, (version, add)) in history.into_iter().enumerate() {
                order.retain(|(known, _)| *known != version);
                if add {
                    kept.add(version, at.to_string());
                    order.push((version, at));
                } else {
                    kept.forget(&version);
                }
                order = order.split_off(order.len().saturating_sub(MOST_REJECTIONS));
                for number in 0..30 {
                    let expected = order.iter().find(|(known, _)| *known == number);
                    let expected = expected.map(|(_, at)| at.to_string());
                    prop_assert_eq!(kept.reason(&number), expected.as_deref());
                }
                prop_assert!(kept.as_slice().len() <= MOST_REJECTIONS);
            }
        }
    }
}
