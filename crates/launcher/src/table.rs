//! What the launcher knows: each launch, its process, and how it ended. Pure: it is told what happened and
//! answers what is so. Kept in memory alone; it is the memory of the node while no manager runs.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::message::{End, Ended, Launched};

/// All launches that are not forgotten. `K` is what is kept for the manager beside each.
#[derive(Debug)]
pub(crate) struct Table<K> {
    entries: BTreeMap<Rc<str>, Entry<K>>,
    running: HashMap<u32, Rc<str>>,
}

#[derive(Debug)]
struct Entry<K> {
    pid: u32,
    start_ticks: u64,
    ended: Option<(End, i64)>,
    kept: Option<K>,
    /// Is it to be forgotten at its end, of which nobody is told?
    is_forgotten: bool,
}

/// One launch, as it is told and handed over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known<'a, K> {
    pub(crate) launched: Launched,
    pub(crate) ended: Option<Ended>,
    pub(crate) kept: Option<&'a K>,
    pub(crate) is_forgotten: bool,
}

impl<K> Default for Table<K> {
    fn default() -> Table<K> {
        Table { entries: BTreeMap::new(), running: HashMap::new() }
    }
}

impl<K> Table<K> {
    /// A process was made by this launch.
    pub(crate) fn insert(&mut self, launched: &Launched, ended: Option<&Ended>, kept: Option<K>) {
        let launch: Rc<str> = launched.launch.as_str().into();
        let Launched { pid, start_ticks, .. } = *launched;
        let ended = ended.map(|ended| (ended.end, ended.at));
        if ended.is_none() {
            self.running.insert(pid, launch.clone());
        }
        self.entries.insert(launch, Entry { pid, start_ticks, ended, kept, is_forgotten: false });
    }

    /// The launch of this name.
    pub(crate) fn find(&self, launch: &str) -> Option<Known<'_, K>> {
        self.entries.get_key_value(launch).map(|(launch, entry)| entry.known(launch))
    }

    /// Its process, if that runs: then the number is nobody else's, for it was not reaped.
    pub(crate) fn running(&self, launch: &str) -> Option<u32> {
        self.entries.get(launch).filter(|entry| entry.ended.is_none()).map(|entry| entry.pid)
    }

    /// This process was reaped. `None`: it is none of ours, but one that a program left behind, or one that
    /// nobody wants to hear of.
    pub(crate) fn ended(&mut self, pid: u32, end: End, at: i64) -> Option<Ended> {
        let launch = self.running.remove(&pid)?;
        let entry = self.entries.get_mut(&launch)?;
        if entry.is_forgotten {
            self.entries.remove(&launch);
            return None;
        }
        entry.ended = Some((end, at));
        Some(Ended { launch: launch.to_string(), end, at })
    }

    /// The end of this launch is recorded elsewhere, or will be of no use to anybody. One that runs stays
    /// until then.
    pub(crate) fn acknowledge(&mut self, launch: &str) {
        match self.entries.get_mut(launch) {
            Some(entry) if entry.ended.is_none() => entry.is_forgotten = true,
            _ => drop(self.entries.remove(launch)),
        }
    }

    /// Somebody wants to hear of this launch after all.
    pub(crate) fn remember(&mut self, launch: &str) {
        if let Some(entry) = self.entries.get_mut(launch) {
            entry.is_forgotten = false;
        }
    }

    /// This launch made no program in the end. Its process may be there until it is reaped.
    pub(crate) fn remove(&mut self, launch: &str) {
        if let Some(entry) = self.entries.remove(launch) {
            self.running.remove(&entry.pid);
        }
    }

    /// All that is known, for whoever is to hear of it.
    pub(crate) fn wanted(&self) -> Vec<Known<'_, K>> {
        self.all().filter(|known| !known.is_forgotten).collect()
    }

    /// All that is known.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = Known<'_, K>> {
        self.entries.iter().map(|(launch, entry)| entry.known(launch))
    }

    /// Is there nothing to remember?
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Does a process run?
    pub(crate) fn any_runs(&self) -> bool {
        !self.running.is_empty()
    }
}

impl<K> Entry<K> {
    fn known(&self, launch: &str) -> Known<'_, K> {
        let Entry { pid, start_ticks, is_forgotten, .. } = *self;
        let ended = self.ended.map(|(end, at)| Ended { launch: launch.into(), end, at });
        let launched = Launched { launch: launch.into(), pid, start_ticks };
        Known { launched, ended, kept: self.kept.as_ref(), is_forgotten }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn launched(launch: u8, pid: u32) -> Launched {
        Launched { launch: launch.to_string(), pid, start_ticks: 1 }
    }

    #[test]
    fn an_end_is_told_again_until_it_is_acknowledged() {
        let mut table = Table::<()>::default();
        table.insert(&launched(1, 100), None, None);
        let ended = table.ended(100, End::Code(3), 7);
        assert_eq!(ended, Some(Ended { launch: "1".into(), end: End::Code(3), at: 7 }));
        assert_eq!(table.find("1").unwrap().ended, ended);
        assert_eq!(table.running("1"), None, "its number may be another's now");
        table.acknowledge("1");
        table.acknowledge("1");
        assert!(table.is_empty());
    }

    #[test]
    fn one_that_is_acknowledged_while_it_runs_is_forgotten_at_its_end_and_nobody_is_told() {
        let mut table = Table::<()>::default();
        table.insert(&launched(1, 100), None, None);
        table.acknowledge("1");
        assert_eq!(table.running("1"), Some(100), "it can still be killed");
        assert!(table.wanted().is_empty() && table.all().len() == 1);
        assert_eq!(table.ended(100, End::Signal(9), 7), None);
        assert!(table.is_empty() && !table.any_runs());
    }

    #[test]
    fn what_a_program_left_behind_is_nobodys_end() {
        let mut table = Table::<()>::default();
        table.insert(&launched(1, 100), None, None);
        assert_eq!(table.ended(101, End::Code(0), 7), None);
        assert!(table.any_runs());
    }

    proptest! {
        /// Against a plain list of facts: numbers are reused by the kernel once they are reaped.
        #[test]
        fn every_launch_has_one_process_and_one_end(
            steps in prop::collection::vec((0u8..3, 0u8..6, 0u32..4), 0..80)
        ) {
            let mut table = Table::<()>::default();
            let mut facts: Vec<(u8, u32, bool, bool)> = Vec::new(); // launch, pid, ended, forgotten
            for (at, (step, launch, pid)) in steps.into_iter().enumerate() {
                let at = i64::try_from(at).unwrap();
                match step {
                    0 => {
                        let taken = facts.iter().any(|(l, p, ended, _)| *l == launch || (*p == pid && !ended));
                        if !taken {
                            table.insert(&launched(launch, pid), None, None);
                            facts.push((launch, pid, false, false));
                        }
                    }
                    1 => {
                        let found = facts.iter().position(|(_, p, ended, _)| *p == pid && !ended);
                        let ended = table.ended(pid, End::Code(0), at).map(|ended| ended.launch);
                        let told = found.map(|at| facts[at]).filter(|(.., forgotten)| !forgotten);
                        prop_assert_eq!(ended, told.map(|(launch, ..)| launch.to_string()));
                        match (found, told) {
                            (Some(at), Some(_)) => facts[at].2 = true,
                            (Some(at), None) => drop(facts.remove(at)),
                            (None, _) => {}
                        }
                    }
                    _ => {
                        table.acknowledge(&launch.to_string());
                        facts.retain(|(l, _, ended, _)| *l != launch || !ended);
                        facts.iter_mut().filter(|(l, ..)| *l == launch).for_each(|fact| fact.3 = true);
                    }
                }
                prop_assert_eq!(table.all().len(), facts.len());
                let wanted = facts.iter().filter(|(.., forgotten)| !forgotten).count();
                prop_assert_eq!(table.wanted().len(), wanted);
                prop_assert_eq!(table.any_runs(), facts.iter().any(|(_, _, ended, _)| !ended));
                for (launch, pid, ended, _) in &facts {
                    let running = table.running(&launch.to_string());
                    prop_assert_eq!(running, (!ended).then_some(*pid));
                }
            }
        }
    }
}
