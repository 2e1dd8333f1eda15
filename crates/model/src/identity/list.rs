//! Lists: who has which right on a thing. Owns the decision along the way from the root of a service to the
//! thing; refuses to know where lists are kept.
//!
//! A thing without a list for a right inherits it from what it is part of. Whoever has `Admin` on a thing
//! has every right on it, since it could give itself the others; whoever has it on the root has every right
//! on everything, so that nobody can be locked out for good.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::CallerPattern;
use crate::access::{Caller, Right};

/// Who has a right: everybody in `in` who is not in `not_in`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Who has it.
    pub within: BTreeSet<CallerPattern>,
    /// Who has it not, though `in` means it.
    pub not_in: BTreeSet<CallerPattern>,
}

/// The lists of one thing. A right without one is inherited; an empty list gives it to nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists(pub BTreeMap<Right, AccessList>);

/// What the lists say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Go on.
    Allowed,
    /// The caller may know that the thing exists, and no more.
    Forbidden,
    /// The caller may not even know that: it hears what it would hear if there were nothing.
    Hidden,
}

impl AccessList {
    /// A list of these alone.
    pub fn of(within: impl IntoIterator<Item = CallerPattern>) -> AccessList {
        AccessList { within: within.into_iter().collect(), not_in: BTreeSet::new() }
    }

    /// Does it give the right to this caller?
    pub fn allows(&self, caller: &Caller) -> bool {
        let means = |patterns: &BTreeSet<CallerPattern>| {
            patterns.iter().any(|pattern| pattern.matches(caller))
        };
        means(&self.within) && !means(&self.not_in)
    }
}

impl Lists {
    /// What a thing begins with that `creator` makes below `levels` (from the root down): nothing where the
    /// creator has `Admin` anyway, else those who would have it and the creator.
    pub fn of_new(levels: &[&Lists], creator: &Caller) -> Lists {
        if decide(levels, creator, Right::Admin) == Access::Allowed {
            return Lists::default();
        }
        let mut list = nearest(levels, Right::Admin).cloned().unwrap_or_default();
        list.within.insert(CallerPattern::of(creator));
        Lists(BTreeMap::from([(Right::Admin, list)]))
    }
}

/// May `caller` use `right` on the last of these, the root first? Total; without lists nobody may anything.
pub fn decide(levels: &[&Lists], caller: &Caller, right: Right) -> Access {
    let has =
        |levels: &[&Lists], right| nearest(levels, right).is_some_and(|list| list.allows(caller));
    let rules = |levels: &[&Lists]| has(levels, Right::Admin);
    if rules(&levels[..levels.len().min(1)]) || rules(levels) || has(levels, right) {
        Access::Allowed
    } else if has(levels, Right::Resolve) {
        Access::Forbidden
    } else {
        Access::Hidden
    }
}

/// The list that counts for the last of these.
fn nearest<'a>(levels: &[&'a Lists], right: Right) -> Option<&'a AccessList> {
    levels.iter().rev().find_map(|lists| lists.0.get(&right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller(text: &str) -> Caller {
        text.parse().unwrap()
    }

    fn lists(rows: &[(Right, &[&str], &[&str])]) -> Lists {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let list = |row: &(Right, &[&str], &[&str])| {
            (row.0, AccessList { within: patterns(row.1), not_in: patterns(row.2) })
        };
        Lists(rows.iter().map(list).collect())
    }

    #[test]
    fn what_has_no_list_inherits_and_what_has_one_does_not() {
        let root = lists(&[(Right::Admin, &["acme/root"], &[]), (Right::Read, &["acme"], &[])]);
        let team = lists(&[(Right::Read, &["acme/team"], &[])]);
        let thing = Lists::default();
        let may =
            |levels: &[&Lists], who| decide(levels, &caller(who), Right::Read) == Access::Allowed;
        assert!(may(&[&root], "acme/bob") && may(&[&root, &thing], "acme/bob"));
        assert!(!may(&[&root, &team], "acme/bob") && !may(&[&root, &team, &thing], "acme/bob"));
        assert!(may(&[&root, &team, &thing], "acme/team/eve"));
        assert!(may(&[&root, &team, &thing], "acme/root"), "an Admin of the root always passes");
        assert!(!may(&[], "acme/root") && !may(&[&thing], "acme/root"));
    }

    #[test]
    fn a_name_that_is_left_out_takes_its_extensions_with_it() {
        let root = lists(&[(Right::Write, &["acme"], &["acme/guests", "acme/temp$"])]);
        let may = |who| decide(&[&root], &caller(who), Right::Write) == Access::Allowed;
        assert!(may("acme/ops") && may("acme/temp/job"));
        assert!(
            !may("acme/guests") && !may("acme/guests/eve") && !may("acme/temp") && !may("uid:0")
        );
    }

    #[test]
    fn whoever_may_not_resolve_a_thing_is_not_told_that_it_is_there() {
        let root = lists(&[(Right::Resolve, &["acme/seer"], &[])]);
        let told = |who| decide(&[&root], &caller(who), Right::Read);
        assert_eq!((told("acme/seer"), told("acme/other")), (Access::Forbidden, Access::Hidden));
        assert_eq!(decide(&[&root], &caller("acme/other"), Right::Resolve), Access::Hidden);
    }

    #[test]
    fn who_makes_a_thing_rules_it_beside_those_who_did_before() {
        let root = lists(&[(Right::Admin, &["acme/root"], &[]), (Right::Write, &["acme"], &[])]);
        let shared = lists(&[(Right::Admin, &["acme/ops"], &[])]);
        let made = Lists::of_new(&[&root, &shared], &caller("acme/bob"));
        for (who, rules) in [
            ("acme/bob", true),
            ("acme/bob/laptop", true),
            ("acme/ops", true),
            ("acme/root", true),
            ("acme/eve", false),
        ] {
            let access = decide(&[&root, &shared, &made], &caller(who), Right::Admin);
            assert_eq!(access == Access::Allowed, rules, "{who}");
        }
        assert_eq!(Lists::of_new(&[&root, &shared], &caller("acme/ops/x")), Lists::default());
    }

    fn any_lists() -> impl Strategy<Value = Lists> {
        let pattern = "(a|b)(/[ab]){0,2}".prop_map(|text| text.parse::<CallerPattern>().unwrap());
        let patterns = || prop::collection::btree_set(pattern.clone(), 0..3);
        let list =
            (patterns(), patterns()).prop_map(|(within, not_in)| AccessList { within, not_in });
        prop::collection::btree_map(prop::sample::select(Right::ALL.to_vec()), list, 0..4)
            .prop_map(Lists)
    }

    proptest! {
        /// Written apart, as a sentence of the documentation: level by level from the thing up.
        #[test]
        fn the_decision_is_the_documented_one(
            levels in prop::collection::vec(any_lists(), 0..4),
            who in "(a|b)(/[ab]){1,3}",
            right in prop::sample::select(Right::ALL.to_vec()),
        ) {
            let who = caller(&who);
            let given = |right: Right, from: usize| {
                let mut at = from;
                while at > 0 {
                    at -= 1;
                    if let Some(list) = levels[at].0.get(&right) {
                        return list.within.iter().any(|p| p.matches(&who))
                            && list.not_in.iter().all(|p| !p.matches(&who));
                    }
                }
                false
            };
            let all = levels.len();
            let allowed = given(Right::Admin, all.min(1)) || given(Right::Admin, all) || given(right, all);
            let levels: Vec<&Lists> = levels.iter().collect();
            let access = decide(&levels, &who, right);
            prop_assert_eq!(access == Access::Allowed, allowed);
            if !allowed {
                prop_assert_eq!(access == Access::Forbidden, given(Right::Resolve, all));
            }
        }
    }
}
