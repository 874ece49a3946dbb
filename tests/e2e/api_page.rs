//! docs/api.md says what the services say.

use eventplatform_tests::api::Api;
use eventplatform_tests::{api_page, paths};

use crate::platform;

#[tokio::test]
async fn the_page_about_the_api_is_up_to_date() {
    let api = Api::new(platform().await.origin.as_str());

    let page = api_page::page(&api).await.unwrap();

    let stored = std::fs::read_to_string(paths::workspace().join(api_page::PATH)).unwrap();
    assert!(stored == page, "{} differs from what the services say; run `make generate`", api_page::PATH);
}
