//! Which envelope a node gets: the newest version that is wanted and that the node can run, and of that
//! version the profile that comes first in the node's list.

use semver::Version;

use crate::name::Profile;
use crate::reference::Wanted;

/// One envelope that there is to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its version.
    pub version: Version,
    /// The profile that it is for.
    pub profile: Profile,
}

/// Why nothing was selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    /// No version that is wanted exists, for any profile.
    Version,
    /// Versions that are wanted exist, but for other profiles only.
    Profile {
        /// The profiles that the newest wanted version is there for, sorted.
        available: Vec<Profile>,
        /// That version.
        version: Version,
    },
}

/// Selects among `candidates` for a machine with this ordered list of profiles. `any` is on every
/// machine's list, last, whether it was named or not.
///
/// # Errors
/// Says whether versions or profiles are missing: the next step differs.
pub fn select<'a>(
    candidates: &'a [Candidate],
    wanted: &Wanted,
    profiles: &[Profile],
) -> Result<&'a Candidate, NoMatch> {
    let any = Profile::any();
    let rank = |profile: &Profile| {
        let named = profiles.iter().filter(|p| **p != any).position(|p| p == profile);
        named.or((*profile == any).then_some(profiles.len()))
    };
    let admitted = || candidates.iter().filter(|c| wanted.admits(&c.version));
    admitted()
        .filter_map(|candidate| Some((candidate, rank(&candidate.profile)?)))
        .max_by(|(a, rank_a), (b, rank_b)| a.version.cmp(&b.version).then(rank_b.cmp(rank_a)))
        .map(|(candidate, _)| candidate)
        .ok_or_else(|| match admitted().map(|c| &c.version).max() {
            None => NoMatch::Version,
            Some(newest) => {
                let mut available: Vec<Profile> = admitted()
                    .filter(|c| c.version == *newest)
                    .map(|c| c.profile.clone())
                    .collect();
                available.sort();
                NoMatch::Profile { available, version: newest.clone() }
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    fn pick(candidates: &[&str], reference: &str, profiles: &[&str]) -> Result<String, NoMatch> {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .map(|text| {
                let (version, profile) = text.split_once('/').unwrap();
                Candidate { version: version.parse().unwrap(), profile: profile.parse().unwrap() }
            })
            .collect();
        let profiles: Vec<Profile> = profiles.iter().map(|p| p.parse().unwrap()).collect();
        let wanted = reference.parse::<Reference>().unwrap().wanted;
        select(&candidates, &wanted, &profiles).map(|c| format!("{}/{}", c.version, c.profile))
    }

    #[test]
    fn the_newest_version_wins_by_number_not_by_spelling() {
        let got = pick(&["9.0.0/any", "10.0.0/any", "2.0.0/any"], "w", &["any"]);
        assert_eq!(got, Ok("10.0.0/any".into()));
    }

    #[test]
    fn a_newer_version_beats_a_better_profile() {
        let got = pick(&["1.0.0/linux-amd64", "1.1.0/any"], "w", &["linux-amd64"]);
        assert_eq!(got, Ok("1.1.0/any".into()));
    }

    #[test]
    fn of_one_version_the_profile_that_comes_first_in_the_list_wins() {
        let there = ["1.0.0/any", "1.0.0/linux-amd64", "1.0.0/linux-amd64-avx2"];
        assert_eq!(pick(&there, "w", &["linux-amd64-avx2", "linux-amd64"]).unwrap(), there[2]);
        assert_eq!(pick(&there, "w", &["linux-amd64", "linux-amd64-avx2"]).unwrap(), there[1]);
    }

    #[test]
    fn any_comes_last_even_when_it_was_named_first() {
        let there = ["1.0.0/any", "1.0.0/linux-amd64"];
        assert_eq!(pick(&there, "w", &["any", "linux-amd64"]).unwrap(), there[1]);
        assert_eq!(pick(&there, "w", &[]).unwrap(), there[0]);
    }

    #[test]
    fn a_missing_version_and_a_missing_profile_are_told_apart() {
        assert_eq!(pick(&["1.0.0/any"], "w@^2", &[]), Err(NoMatch::Version));
        assert_eq!(pick(&["1.0.0-rc.1/any"], "w", &[]), Err(NoMatch::Version));
        let other = pick(&["1.0.0/linux-arm64", "0.9.0/x"], "w", &["linux-amd64"]);
        assert_eq!(
            other,
            Err(NoMatch::Profile {
                available: vec!["linux-arm64".parse().unwrap()],
                version: Version::new(1, 0, 0)
            })
        );
    }
}
