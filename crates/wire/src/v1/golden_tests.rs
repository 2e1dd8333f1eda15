//! Every body in `golden/v1/` is read and written back to the same JSON: no key is lost, none is missing.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::problem::ErrorBody;

macro_rules! golden {
    ($($name:ident: $type:ty = $file:literal;)*) => {$(
        #[test]
        fn $name() {
            same::<$type>(include_str!(concat!("../../golden/v1/", $file)));
        }
    )*};
}

golden! {
    an_object_reads_as_its_golden_body: ObjectBody = "object.json";
    an_incomplete_object_reads_as_its_golden_body: ObjectBody = "object-incomplete.json";
    a_line_of_objects_reads_as_its_golden_body: ObjectLine = "object-line.json";
    a_stored_object_reads_as_its_golden_body: StoredBody = "stored.json";
    an_upload_request_reads_as_its_golden_body: UploadRequest = "upload-request.json";
    an_upload_reads_as_its_golden_body: UploadBody = "upload.json";
    an_envelope_reads_as_its_golden_body: EnvelopeBody = "envelope.json";
    an_envelope_with_its_program_in_a_package_reads_as_its_golden_body: EnvelopeBody = "envelope-in-package.json";
    a_published_version_reads_as_its_golden_body: PublishedBody = "published.json";
    a_line_of_applications_reads_as_its_golden_body: ApplicationLine = "application-line.json";
    an_instance_reads_as_its_golden_body: InstanceBody = "instance.json";
    an_instance_that_was_lost_reads_as_its_golden_body: InstanceBody = "instance-lost.json";
    an_installation_reads_as_its_golden_body: InstallationBody = "installation.json";
    an_install_request_reads_as_its_golden_body: InstallRequest = "install-request.json";
    an_operation_reads_as_its_golden_body: OperationBody = "operation.json";
    a_failed_operation_reads_as_its_golden_body: OperationBody = "operation-failed.json";
    a_collection_reads_as_its_golden_body: OperationBody = "operation-store-gc.json";
    a_look_at_the_store_reads_as_its_golden_body: VerifiedBody = "verified.json";
    a_repair_reads_as_its_golden_body: RepairedBody = "repaired.json";
    a_line_of_garbage_reads_as_its_golden_body: GarbageLine = "garbage-line.json";
    a_request_for_the_store_reads_as_its_golden_body: StoreRequest = "store-request.json";
    a_log_line_reads_as_its_golden_body: LogLine = "log-line.json";
    a_line_of_a_plan_reads_as_its_golden_body: PlanLine = "plan-line.json";
    a_question_for_a_plan_reads_as_its_golden_body: UpdatePlanRequest = "update-plan-request.json";
    an_error_reads_as_its_golden_body: ErrorBody = "error.json";
    an_identity_reads_as_its_golden_body: IdentityBody = "identity.json";
    a_request_for_a_name_reads_as_its_golden_body: RequestBody = "identity-request.json";
    an_answer_with_a_name_reads_as_its_golden_body: AnswerBody = "identity-answer.json";
    a_line_of_names_reads_as_its_golden_body: IssuedLine = "issued-line.json";
    a_status_reads_as_its_golden_body: StatusBody = "status.json";
}

fn same<T: Serialize + DeserializeOwned>(text: &str) {
    let golden: serde_json::Value = serde_json::from_str(text).unwrap();
    let body: T = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&body).unwrap(), golden);
}

#[test]
fn an_envelope_goes_to_the_model_and_back_without_loss() {
    for text in [
        include_str!("../../golden/v1/envelope.json"),
        include_str!("../../golden/v1/envelope-in-package.json"),
    ] {
        let mut body: EnvelopeBody = serde_json::from_str(text).unwrap();
        body.created = None;
        body.created_by = None;
        assert_eq!(EnvelopeBody::from_model(&body.to_model().unwrap()), body);
    }
}

#[test]
fn an_envelope_whose_program_is_in_a_missing_package_is_refused() {
    let text = include_str!("../../golden/v1/envelope-in-package.json");
    let mut body: EnvelopeBody = serde_json::from_str(text).unwrap();
    body.packages.clear();
    assert!(matches!(body.to_model(), Err(InvalidEnvelope::NoSuchPackage { .. })));
}

#[test]
fn an_argument_that_no_process_can_be_given_is_refused() {
    let text = include_str!("../../golden/v1/envelope.json");
    let mut body: EnvelopeBody = serde_json::from_str(text).unwrap();
    body.args.push("a\0b".into());
    assert!(matches!(body.to_model(), Err(InvalidEnvelope::Nul { .. })));
}

/// Stored before packages could be writable.
#[test]
fn a_pin_that_does_not_say_is_read_only() {
    let text = include_str!("../../golden/v1/envelope.json");
    let before =
        text.replace(",\n      \"writable\": true", "").replace(",\n    \"writable\": false", "");
    assert!(!before.contains("writable"));
    let body: EnvelopeBody = serde_json::from_str(&before).unwrap();
    assert!(body.packages.values().all(|pin| !pin.writable));
}

/// Stored before envelopes had policies, in catalogs and on nodes.
#[test]
fn an_envelope_without_the_keys_of_policies_wants_what_was_usual() {
    let text = include_str!("../../golden/v1/envelope.json");
    let mut before: serde_json::Value = serde_json::from_str(text).unwrap();
    for key in ["ready", "alive", "stop", "limits", "logs", "update"] {
        before.as_object_mut().unwrap().remove(key).unwrap();
    }
    let body: EnvelopeBody = serde_json::from_value(before).unwrap();
    assert_eq!(body.to_model().unwrap().policies, model::Policies::default());
}

#[test]
fn an_envelope_that_wants_what_this_fettle_does_not_know_is_unsupported() {
    let text = include_str!("../../golden/v1/envelope.json");
    for (from, to, key) in [
        ("\"args\"", "\"sandbox\": \"strict\", \"args\"", "`sandbox`"),
        ("\"tasks\"", "\"swap\": 1, \"tasks\"", "`limits.swap`"),
    ] {
        let body: EnvelopeBody = serde_json::from_str(&text.replace(from, to)).unwrap();
        let refusal = body.to_model().unwrap_err();
        assert!(refusal.is_unsupported() && refusal.to_string().contains(key), "{refusal}");
    }
    let silent = text.replace("\"args\"", "\"sandbox\": null, \"args\"");
    assert!(serde_json::from_str::<EnvelopeBody>(&silent).unwrap().to_model().is_ok());
}

/// As a node manager of before answers, and keeps in its records.
#[test]
fn instances_and_operations_without_the_newer_keys_are_read() {
    let without = |text: &str, keys: &[&str]| {
        let mut body: serde_json::Value = serde_json::from_str(text).unwrap();
        for key in keys {
            body.as_object_mut().unwrap().remove(*key).unwrap();
        }
        body
    };
    let keys = ["ready", "status", "probation", "rejected", "reason", "next"];
    let instance = without(include_str!("../../golden/v1/instance.json"), &keys);
    assert!(serde_json::from_value::<InstanceBody>(instance).unwrap().rejected.is_empty());
    let operation = without(include_str!("../../golden/v1/operation.json"), &["waits_for"]);
    assert_eq!(serde_json::from_value::<OperationBody>(operation).unwrap().waits_for, None);
}
