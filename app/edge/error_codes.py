"""Every error code that the API answers with: its status and title. Documentation is made from it.

Codes of rejected checkpoints, rejected datasets and failed jobs come from the library and stand in
`error.code` of those resources, not here. A test finds every code raised in `app` and fails when one is
missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain import errors

STATUS_OF: Mapping[type[errors.DomainError], int] = {
    errors.InvalidInput: 422,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.QuotaExceeded: 429,
    errors.Unavailable: 503,
}


def status_of(error: errors.DomainError) -> int:
    """The status that a refusal is answered with, by the API and by pages."""
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)


@dataclass(frozen=True)
class ErrorCode:
    status: int
    title: str


ERROR_CODES: Mapping[str, ErrorCode] = {
    # the request itself
    "malformed_json": ErrorCode(400, "The body is not JSON"),
    "repeated_key": ErrorCode(422, "The body has a key twice"),
    "bad_request": ErrorCode(400, "The request cannot be read"),
    "invalid_request": ErrorCode(422, "Values of the request cannot be used"),
    "unsupported_media_type": ErrorCode(415, "The body is of the wrong type"),
    "body_too_large": ErrorCode(413, "The body is too large"),
    "body_too_complex": ErrorCode(413, "The body has too many values"),
    "body_too_slow": ErrorCode(408, "The body did not arrive in time"),
    "head_too_large": ErrorCode(431, "The request line and headers are too large"),
    "head_too_slow": ErrorCode(408, "The request line and headers did not arrive in time"),
    "too_many_connections": ErrorCode(429, "Your address has too many connections"),
    "connections_busy": ErrorCode(503, "All connections are taken"),
    "route_not_found": ErrorCode(404, "There is no such address"),
    "method_not_allowed": ErrorCode(405, "This address does not support this method"),
    "http_error": ErrorCode(400, "The request was refused"),
    "internal_error": ErrorCode(500, "The service failed"),
    # keys
    "key_missing": ErrorCode(401, "No API key was given"),
    "invalid_key": ErrorCode(401, "The API key is not valid"),
    "session_ended": ErrorCode(401, "The session of this browser has ended"),
    "link_used": ErrorCode(401, "The link was used before"),
    "form_expired": ErrorCode(403, "The form belongs to another session"),
    "form_unreadable": ErrorCode(422, "The form could not be read"),
    "form_incomplete": ErrorCode(422, "A field of the form cannot be used"),
    "unknown_scope": ErrorCode(422, "There is no such scope"),
    "scope_missing": ErrorCode(403, "The key may not do this"),
    "key_expiry_invalid": ErrorCode(422, "The key cannot expire at that time"),
    "key_not_active": ErrorCode(409, "The key is revoked or expired"),
    "key_already_rotated": ErrorCode(409, "The key and its successor are both active"),
    "last_admin_key": ErrorCode(409, "No other admin key stays valid as long"),
    # idempotency
    "idempotency_key_invalid": ErrorCode(422, "The idempotency key cannot be used"),
    "idempotency_key_reused": ErrorCode(422, "The idempotency key belongs to another request"),
    "idempotency_key_in_flight": ErrorCode(409, "The first request with this key is still running"),
    # shares of the service
    "quota_exceeded": ErrorCode(429, "A quota of the project is used up"),
    "rate_limited": ErrorCode(429, "The project makes too many requests"),
    "too_many_streams": ErrorCode(429, "The project follows too many jobs at once"),
    "streams_busy": ErrorCode(503, "Too many jobs are being followed"),
    "checks_busy": ErrorCode(503, "Too many dry runs at once"),
    "lists_busy": ErrorCode(503, "Too many lists at once"),
    "bodies_busy": ErrorCode(503, "Too many large bodies at once"),
    "login_rate_limited": ErrorCode(429, "Too many requests without a valid key"),
    # not found in this project
    "upload_not_found": ErrorCode(404, "There is no such upload"),
    "checkpoint_not_found": ErrorCode(404, "There is no such checkpoint"),
    "dataset_not_found": ErrorCode(404, "There is no such dataset"),
    "job_not_found": ErrorCode(404, "There is no such job"),
    "artifact_not_found": ErrorCode(404, "There is no such artifact"),
    "vetting_without_list": ErrorCode(404, "The vetting has no list of samples"),
    "deletion_not_found": ErrorCode(404, "There is no such deletion"),
    "key_not_found": ErrorCode(404, "There is no such key"),
    "project_name_invalid": ErrorCode(422, "The project name is not valid"),
    "project_exists": ErrorCode(409, "A project with that name exists already"),
    "project_not_found": ErrorCode(404, "There is no such project"),
    "policy_not_found": ErrorCode(404, "There is no such policy"),
    "report_not_found": ErrorCode(404, "The job has no report"),
    # uploads
    "upload_too_large": ErrorCode(413, "The file is larger than the service accepts"),
    "upload_part_unknown": ErrorCode(422, "The upload has no such part"),
    "upload_parts_missing": ErrorCode(409, "Parts are missing"),
    "upload_part_mismatch": ErrorCode(409, "A stored part is not the one that was sent"),
    "upload_size_mismatch": ErrorCode(422, "The size is not the declared size"),
    "upload_digest_mismatch": ErrorCode(422, "The SHA-256 is not the declared SHA-256"),
    "upload_stalled": ErrorCode(409, "The bytes arrived too slowly"),
    "uploads_busy": ErrorCode(503, "Too many uploads are being streamed"),
    "upload_lost": ErrorCode(409, "The store no longer holds the upload"),
    "upload_in_use": ErrorCode(409, "The upload is already a checkpoint or dataset"),
    "upload_state_conflict": ErrorCode(409, "The state of the upload does not allow it"),
    # checkpoints and datasets
    "checkpoint_not_accepted": ErrorCode(409, "The checkpoint is not accepted"),
    "checkpoint_in_use": ErrorCode(409, "Jobs still use the checkpoint"),
    "checkpoint_state_conflict": ErrorCode(409, "The state of the checkpoint does not allow it"),
    "dataset_uri_invalid": ErrorCode(422, "The reference cannot be read"),
    "dataset_uri_not_allowed": ErrorCode(422, "The reference is outside the allowed prefixes"),
    "dataset_too_many_shards": ErrorCode(422, "The reference names too many shards"),
    "dataset_empty": ErrorCode(422, "The reference has no shards"),
    "dataset_not_ready": ErrorCode(409, "The dataset is not ready"),
    "dataset_wrong_kind": ErrorCode(422, "The dataset is of the wrong kind"),
    "trained_on_the_test": ErrorCode(422, "The model would be measured on its training data"),
    "sigmoid_model": ErrorCode(422, "The model was trained with another loss than the recipe's"),
    "text_scan_tokenizer": ErrorCode(422, "Words cannot be inserted for this model's tokenizer"),
    "text_scan_too_few_classes": ErrorCode(422, "The dataset has too few classes for a text scan"),
    "trigger_words_tokenizer": ErrorCode(422, "Words cannot be inserted for this model's tokenizer"),
    "dataset_upload_unusable": ErrorCode(409, "The upload cannot become a dataset"),
    "samples_not_found": ErrorCode(404, "The dataset has no samples to show"),
    "dataset_in_use": ErrorCode(409, "Jobs still use the dataset"),
    "dataset_state_conflict": ErrorCode(409, "The state of the dataset does not allow it"),
    # attacks that a scan found
    "job_is_no_scan": ErrorCode(422, "The job is no scan"),
    "scan_of_another_model": ErrorCode(422, "The scan is of another model"),
    "scan_found_no_attack": ErrorCode(422, "The scan found no trigger that an audit can use"),
    "scan_found_no_target": ErrorCode(422, "The scan found no class that triggers could lead to"),
    "scan_unreadable": ErrorCode(409, "The scan's report cannot be read"),
    # policies
    "policy_cannot_pass": ErrorCode(422, "No result could meet the policy"),
    "policy_limits_unsearched": ErrorCode(422, "The policy limits what too few images can be searched for"),
    "policy_limits_untried": ErrorCode(422, "The policy limits an attack that the audit does not test"),
    "policy_limits_unmeasured": ErrorCode(422, "The policy limits what the audit does not measure"),
    "rebound_too_long": ErrorCode(422, "The rebound asks for too many updates or measurements"),
    "rebound_without_clean_data": ErrorCode(422, "The order has no clean data to measure a rebound with"),
    "too_many_policies": ErrorCode(409, "The project has as many policies as it may"),
    "bad_template": ErrorCode(422, "A template does not name the class"),
    # scans and nulls
    "null_not_found": ErrorCode(404, "There is no such null"),
    "null_does_not_fit": ErrorCode(422, "The null was measured in another way than the scan"),
    "null_holds_the_suspect": ErrorCode(422, "The scanned model is one of the null"),
    "null_exists": ErrorCode(409, "A null with that name exists already"),
    "null_name_invalid": ErrorCode(422, "The name of the null cannot be used"),
    "scan_anchor_missing": ErrorCode(422, "A detector of the scan needs an anchor"),
    "scan_anchor_unused": ErrorCode(422, "No detector of the scan uses the anchor"),
    "scan_too_few_classes": ErrorCode(422, "The scan has fewer than three class names"),
    "scan_class_repeated": ErrorCode(422, "A further class is in the labelled dataset already"),
    "scan_too_few_images": ErrorCode(422, "The labelled dataset has too few images for a scan"),
    "scan_one_class": ErrorCode(422, "All images of the labelled dataset are of one class"),
    # vettings and their lists
    "anchor_is_the_suspect": ErrorCode(422, "The anchor is the suspect itself"),
    "anchor_tokenizer": ErrorCode(422, "The anchor has another number of tokens than the suspect"),
    "trusted_overlaps": ErrorCode(422, "The trusted samples are those that are vetted"),
    "trusted_wrong_kind": ErrorCode(422, "The trusted samples are of another kind"),
    "too_few_to_vet": ErrorCode(422, "The dataset has too few samples for the neighbours"),
    "too_few_trusted": ErrorCode(422, "There are too few trusted samples for the share"),
    "score_without_input": ErrorCode(422, "A score lacks what it is computed from"),
    "triggers_unused": ErrorCode(422, "No score of the vetting uses the triggers"),
    "job_is_no_vetting": ErrorCode(422, "The job is no vetting"),
    "exclusions_of_another_dataset": ErrorCode(422, "The list is of a dataset that the order does not use"),
    "exclusions_given_twice": ErrorCode(422, "Two lists are of the same dataset"),
    # sources
    "source_invalid": ErrorCode(422, "The source is not valid"),
    "source_not_allowed": ErrorCode(422, "The service may not read the source"),
    "sources_off": ErrorCode(409, "This installation fetches no checkpoints"),
    # webhooks
    "webhook_not_found": ErrorCode(404, "There is no such webhook"),
    "webhook_delivery_not_found": ErrorCode(404, "The webhook has no such delivery"),
    "webhook_url_invalid": ErrorCode(422, "The webhook address is not valid"),
    "webhook_url_not_allowed": ErrorCode(422, "The webhook address is not allowed"),
    "webhook_state_conflict": ErrorCode(409, "The state of the webhook does not allow it"),
    "webhook_already_rotated": ErrorCode(409, "The webhook has two signing secrets already"),
    "too_many_webhooks": ErrorCode(409, "The project has as many webhooks as it may"),
    "webhooks_off": ErrorCode(409, "This installation sends no webhooks"),
    # jobs
    "unknown_target": ErrorCode(422, "The target is not a class of the labelled set"),
    "ambiguous_target": ErrorCode(422, "Two classes have the name of the target"),
    "job_state_conflict": ErrorCode(409, "The state of the job does not allow it"),
    "event_unknown": ErrorCode(422, "The job has no event with that number"),
    "job_not_finished": ErrorCode(409, "The job is not finished"),
    # parts of the service
    "store_unavailable": ErrorCode(503, "The object store does not answer"),
    "database_unavailable": ErrorCode(503, "The database does not answer"),
}
