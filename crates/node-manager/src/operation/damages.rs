//! What a look at the store found, as it is told: all of it counted, the first of it named.

use model::Digest;
use wire::v1::{DamageBody, DamageKind};

use crate::store::{Broken, Findings, REMEMBERED};

/// Damages, of which the first are kept.
#[derive(Debug, Default)]
pub(super) struct Damages {
    /// How many.
    pub(super) damaged: u64,
    /// Which.
    pub(super) damages: Vec<DamageBody>,
}

impl Damages {
    /// One more.
    pub(super) fn add(
        &mut self,
        kind: DamageKind,
        name: String,
        path: Option<String>,
        what: String,
    ) {
        self.damaged += 1;
        if self.damages.len() < REMEMBERED {
            self.damages.push(DamageBody { kind, name, path, what });
        }
    }

    /// A record or a link.
    pub(super) fn add_broken(&mut self, broken: &Broken, why: Option<&str>) {
        let what = match why {
            Some(why) => format!("{}; {why}", broken.what),
            None => broken.what.clone(),
        };
        let path = Some(broken.path.display().to_string());
        self.add(broken.owner.kind(), broken.owner.name(), path, what);
    }

    /// All that is wrong with the content of one digest.
    pub(super) fn add_all(&mut self, digest: &Digest, findings: &Findings) {
        if let Some(wrong) = &findings.blob {
            self.add(DamageKind::Blob, digest.hex(), None, wrong.what().to_owned());
        }
        for (name, what) in &findings.names {
            let path = Some(name.display().to_string());
            self.add(DamageKind::Blob, digest.hex(), path, what.clone());
        }
        for (name, flaws) in &findings.trees {
            for flaw in &flaws.first {
                let path = flaw.path.as_ref().map(|path| path.display().to_string());
                self.add(DamageKind::Tree, name.clone(), path, flaw.what.clone());
            }
            self.damaged += flaws.all.saturating_sub(flaws.first.len() as u64);
        }
    }

    /// All of it, with the reason why it stays.
    pub(super) fn add_why(&mut self, digest: &Digest, findings: &Findings, why: &str) {
        let before = self.damages.len();
        self.add_all(digest, findings);
        for damage in &mut self.damages[before..] {
            damage.what = format!("{}; {why}", damage.what);
        }
    }

    /// Those of another look.
    pub(super) fn append(&mut self, other: Damages) {
        self.damaged += other.damaged;
        let room = REMEMBERED.saturating_sub(self.damages.len());
        self.damages.extend(other.damages.into_iter().take(room));
    }
}
