//! What the errors that DynamoDB sends mean for us, in words that say what to do. What the service says goes
//! into a message only where it carries no secrets: a refused signature is answered with the headers of the
//! request, session token included.

use super::{cause::one_line, place::Place};
use crate::store::StoreError;

/// An error that the service sent.
pub(super) struct Reply<'a> {
    pub(super) place: &'a Place,
    pub(super) action: &'static str,
    pub(super) status: u16,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

impl Reply<'_> {
    // Codes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html and
    // .../APIReference/CommonErrors.html
    pub(super) fn explain(&self) -> StoreError {
        match self.code {
            "ResourceNotFoundException" => self.no_table(),
            "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "ThrottlingException"
            | "Throttling" => StoreError::Throttled(format!(
                "{}: DynamoDB throttles {} ({}). If it lasts, let the table be on demand, or give it more \
                 capacity",
                self.place, self.action, self.code
            )),
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => self.no_access(),
            "ExpiredTokenException" | "ExpiredToken" => self.refused(
                "the AWS credentials have expired. Renew them, or give this machine a role, whose \
                 credentials renew themselves",
            ),
            "UnrecognizedClientException" | "InvalidClientTokenId" | "MissingAuthenticationToken" => self
                .refused(
                    "AWS does not know these credentials. Check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN, \
                     and whether the region is enabled for the account",
                ),
            "RequestTimeTooSkewed" | "RequestExpired" => self.clock(),
            // Its message has the signed headers.
            "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignatureException"
            | "IncompleteSignature" => {
                if self.message.starts_with("Signature expired")
                    || self.message.starts_with("Signature not yet current")
                {
                    self.clock()
                } else {
                    self.refused("AWS does not accept the signature: check AWS_SECRET_ACCESS_KEY")
                }
            }
            "TransactionConflictException" | "ReplicatedWriteConflictException" => StoreError::Unavailable(
                format!("{}: another write came in between ({})", self.place, self.code),
            ),
            _ if self.status >= 500 => StoreError::Unanswered(format!(
                "{}: DynamoDB has a problem of its own: {}",
                self.place,
                self.said()
            )),
            "" => no_dynamodb(self.place, self.status, "it has no error code"),
            // DynamoDB has no code of its own for a table whose key is another one; each such message has the word.
            "ValidationException" if self.message.contains("key") => {
                let refused = format!("{}: DynamoDB refuses {}: {}", self.place, self.action, self.said());
                StoreError::Refused(other_key(&refused))
            }
            _ => self.refused(&format!("DynamoDB refuses {}: {}", self.action, self.said())),
        }
    }

    fn refused(&self, what: &str) -> StoreError {
        StoreError::Refused(format!("{}: {what}", self.place))
    }

    fn no_table(&self) -> StoreError {
        let table = &self.place.table;
        self.refused(&format!(
            "there is no such table (or it is not ready yet). Create it with `pipeline-lock table create \
             --table {table}`, or correct `table` and `region`"
        ))
    }

    fn no_access(&self) -> StoreError {
        self.refused(&format!(
            "the AWS credentials may not do dynamodb:{}. Allow it on this table in their IAM policy. AWS \
             says: {}",
            self.action,
            self.said()
        ))
    }

    /// The client takes the service's time from this reply and signs the next request with it.
    fn clock(&self) -> StoreError {
        StoreError::Unavailable(format!(
            "{}: AWS refuses the time of the request: this machine's clock is more than five minutes wrong. \
             Set it (timedatectl)",
            self.place
        ))
    }

    /// Code and message on one line.
    fn said(&self) -> String {
        let message = one_line(self.message);
        match (self.code, message.as_str()) {
            ("", "") => format!("HTTP {}", self.status),
            (code, "") => one_line(code),
            ("", message) => format!("HTTP {}, {message}", self.status),
            (code, message) => format!("{}, {message}", one_line(code)),
        }
    }
}

/// What to say of a table whose key is another one, after what showed it.
pub(super) fn other_key(what: &str) -> String {
    format!(
        "{what}. Locks need a table with the partition key LockID (a string) and no sort key: `pipeline-lock table \
         create` with this table says what it has"
    )
}

/// A reply that is none of DynamoDB's: a proxy's page, or another service.
pub(super) fn no_dynamodb(place: &Place, status: u16, cause: &str) -> StoreError {
    let service = place.service();
    // A proxy in between may have passed the request on.
    if (200..300).contains(&status) {
        return StoreError::Unanswered(format!(
            "{place}: {service} answered HTTP {status}, but not as DynamoDB does ({cause}). Check `endpoint_url` and \
             proxies (HTTPS_PROXY)"
        ));
    }
    if !(300..500).contains(&status) {
        return StoreError::Unanswered(format!("{place}: {service} answered HTTP {status}: {cause}"));
    }
    StoreError::Refused(format!(
        "{place}: {service} answered HTTP {status}, which is no reply of DynamoDB. Check `endpoint_url` and \
         proxies (HTTPS_PROXY)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, code: &str, message: &str) -> StoreError {
        let place = Place::new("locks", "eu-central-1", None, None);
        Reply { place: &place, action: "UpdateItem", status, code, message }.explain()
    }

    #[test]
    fn a_missing_table_is_refused_with_the_command_that_creates_it() {
        let error = reply(400, "ResourceNotFoundException", "Requested resource not found");
        assert!(matches!(error, StoreError::Refused(_)));
        assert!(error.to_string().contains("pipeline-lock table create --table locks"), "{error}");
        assert!(error.to_string().contains("eu-central-1"), "{error}");
    }

    #[test]
    fn every_kind_of_throttling_is_throttled() {
        for code in [
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "ThrottlingException",
            "Throttling",
        ] {
            assert!(matches!(reply(400, code, ""), StoreError::Throttled(_)), "{code}");
        }
    }

    #[test]
    fn a_denied_action_is_named() {
        for code in ["AccessDeniedException", "AccessDenied", "NotAuthorized"] {
            let error = reply(400, code, "User: arn:aws:iam::1:user/ci is not authorized");
            assert!(matches!(error, StoreError::Refused(_)), "{code}: {error:?}");
            let text = error.to_string();
            assert!(
                text.contains("dynamodb:UpdateItem") && text.contains("arn:aws:iam::1:user/ci"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_table_with_another_key_is_told_with_the_key_that_is_needed() {
        for said in ["The provided key element does not match the schema", "Type mismatch for key"] {
            let error = reply(400, "ValidationException", said);
            assert!(
                matches!(error, StoreError::Refused(_)) && error.to_string().contains("LockID"),
                "{error}"
            );
        }
        assert!(!reply(400, "ValidationException", "Item size").to_string().contains("LockID"));
    }

    #[test]
    fn a_server_error_may_have_taken_effect() {
        assert!(matches!(reply(500, "InternalServerError", ""), StoreError::Unanswered(_)));
        assert!(matches!(reply(503, "", ""), StoreError::Unanswered(_)));
        assert!(matches!(reply(503, "ServiceUnavailable", ""), StoreError::Unanswered(_)));
    }

    #[test]
    fn a_refused_signature_shows_nothing_of_the_request() {
        let message = "The request signature we calculated does not match\n\
                       The Canonical String should have been 'x-amz-security-token:FQoGZXIv'";
        let error = reply(400, "InvalidSignatureException", message);
        assert!(matches!(error, StoreError::Refused(_)));
        assert!(!error.to_string().contains("FQoGZXIv"), "{error}");
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    }

    #[test]
    fn a_wrong_clock_is_named_and_passes() {
        for (code, message) in [
            ("InvalidSignatureException", "Signature expired: 20260101T000000Z is now …"),
            ("InvalidSignatureException", "Signature not yet current: 20260101T000000Z is …"),
            ("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now …"),
            ("RequestTimeTooSkewed", "The difference is too large"),
            ("RequestExpired", ""),
        ] {
            let error = reply(400, code, message);
            assert!(matches!(error, StoreError::Unavailable(_)), "{code}: {error:?}");
            assert!(error.to_string().contains("clock"), "{error}");
        }
    }

    #[test]
    fn a_write_that_met_another_one_had_no_effect_and_is_tried_again() {
        for code in ["TransactionConflictException", "ReplicatedWriteConflictException"] {
            assert!(matches!(reply(400, code, ""), StoreError::Unavailable(_)), "{code}");
        }
    }

    #[test]
    fn expired_and_unknown_credentials_are_refused_with_the_way_out() {
        for (code, way_out) in [
            ("ExpiredTokenException", "Renew them"),
            ("ExpiredToken", "Renew them"),
            ("UnrecognizedClientException", "AWS_ACCESS_KEY_ID"),
            ("InvalidClientTokenId", "AWS_ACCESS_KEY_ID"),
            ("MissingAuthenticationToken", "AWS_ACCESS_KEY_ID"),
            ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            ("IncompleteSignature", "AWS_SECRET_ACCESS_KEY"),
        ] {
            let error = reply(400, code, "The security token included in the request is …");
            assert!(matches!(error, StoreError::Refused(_)), "{code}: {error:?}");
            assert!(error.to_string().contains(way_out), "{code}: {error}");
        }
    }

    #[test]
    fn a_message_of_the_service_is_one_short_printable_line() {
        let error = reply(400, "ValidationException", &format!("a\u{1b}[31mb{}\nsecond", "x".repeat(1000)));
        let text = error.to_string();
        assert!(matches!(error, StoreError::Refused(_)));
        assert!(!text.contains('\u{1b}') && !text.contains("second") && text.len() < 500, "{text}");
    }

    #[test]
    fn what_is_not_dynamodb_is_called_so() {
        let error = reply(404, "", "");
        assert!(matches!(error, StoreError::Refused(_)));
        assert!(error.to_string().contains("endpoint_url"), "{error}");
    }
}
