//! Domain errors as API errors.

use platform::ApiError;

use crate::domain::Refusal;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::not_found("not_found", "there are no such notifications of yours"),
            Refusal::SessionExpired => {
                Self::unauthorized("token_expired", "the session is over; refresh it or log in again")
            }
            Refusal::TooManyStreams => {
                Self::too_many_requests("too_many_streams", "too many streams are open here; try again in a moment", 5)
            }
        }
    }
}
