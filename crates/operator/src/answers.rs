//! What the API server answers, in portions that fit into the operator's memory. Whoever may write an object may make
//! it as large as the API server takes it: 1.5 MB in its store, which as JSON can be six times as much. Most of that
//! may be `managedFields`, which hardly a rule reads and no schema limits: they are cut out of the answer while it
//! comes. Of lists that are large even so one is read at a time, and a single object that is larger than any that a
//! rule reads is not read at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use tokio::sync::{AcquireError, Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tower::{BoxError, Layer, Service, ServiceExt};

/// The largest answer that is no list and no watch, in bytes: the largest of our own resources is smaller, and what the
/// operator makes is far smaller.
const LARGEST: usize = 768 << 10;
/// So many bytes of a page of a list are read beside others; for more, there is one place.
const SMALL: usize = 256 << 10;
/// So long a page of a list that was large keeps the place after it has come: it is being parsed.
const PARSED: Duration = Duration::from_millis(250);
/// When so long nothing comes of a page of a list, nothing will. (A watch may be silent for longer.)
const SILENT: Duration = Duration::from_secs(30);
/// Of the Zalando operator's resources rules read who wrote them when; each is read alone.
const OF_ZALANDO: &str = "/apis/acid.zalan.do/";

/// The layer of the client.
#[derive(Clone, Debug)]
pub struct Portions {
    large: Arc<Semaphore>,
}

impl Default for Portions {
    fn default() -> Self {
        let large = Arc::new(Semaphore::new(1));
        Portions { large }
    }
}

impl<S> Layer<S> for Portions {
    type Service = Portioned<S>;

    fn layer(&self, inner: S) -> Portioned<S> {
        Portioned {
            inner: Arc::new(Mutex::new(inner)),
            large: self.large.clone(),
        }
    }
}

/// A client that reads in portions.
#[derive(Debug)]
pub struct Portioned<S> {
    inner: Arc<Mutex<S>>,
    large: Arc<Semaphore>,
}

/// What is asked for, as far as its size is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A page of a list.
    List,
    /// What has no end.
    Watch,
    /// Anything else.
    One,
}

impl Asked {
    fn of<Q>(question: &Request<Q>) -> Self {
        let has = |name: &str| {
            let mut parts = question.uri().query().unwrap_or_default().split('&');
            parts.any(|part| part.split('=').next() == Some(name))
        };
        match *question.method() {
            Method::GET if has("watch") => Asked::Watch,
            Method::GET if has("limit") => Asked::List,
            _ => Asked::One,
        }
    }
}

impl<S, Q, B> Service<Request<Q>> for Portioned<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    Q: Send + 'static,
    B: 'static,
{
    type Response = Response<Portion<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, question: Request<Q>) -> Self::Future {
        let (inner, large) = (self.inner.clone(), self.large.clone());
        async move {
            let asked = Asked::of(&question);
            let whole = question.uri().path().starts_with(OF_ZALANDO);
            let answer = {
                let mut inner = inner.lock().await;
                inner.ready().await.map_err(Into::into)?.call(question)
            };
            let answer = match asked {
                Asked::List => tokio::time::timeout(SILENT, answer)
                    .await
                    .map_err(|_| silent())?,
                Asked::Watch | Asked::One => answer.await,
            };
            let answer = answer.map_err(Into::into)?;
            let mut kinds = answer.headers().get_all(CONTENT_TYPE).iter();
            let is_json = kinds.any(|kind| kind.as_bytes().starts_with(b"application/json"));
            Ok(answer.map(|body| Portion {
                body,
                cut: (is_json && !whole).then(Cut::default),
                size: match asked {
                    Asked::List => Size::Page(Page::new(large)),
                    Asked::Watch => Size::Endless,
                    Asked::One => Size::Room(LARGEST),
                },
            }))
        }
        .boxed()
    }
}

fn silent() -> BoxError {
    format!("nothing came of the list for {} s", SILENT.as_secs()).into()
}

/// The body of an answer.
pub struct Portion<B> {
    body: B,
    /// What cuts it; none if it is no JSON, or is read as a whole.
    cut: Option<Cut>,
    size: Size,
}

enum Size {
    /// So many bytes may yet come.
    Room(usize),
    Page(Page),
    Endless,
}

/// A page of a list.
struct Page {
    large: Arc<Semaphore>,
    /// How many bytes may yet come without the place for large ones.
    room: usize,
    place: Option<OwnedSemaphorePermit>,
    waits: Option<BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>>,
    silent: Pin<Box<Sleep>>,
}

impl Page {
    fn new(large: Arc<Semaphore>) -> Self {
        Page {
            large,
            room: SMALL,
            place: None,
            waits: None,
            silent: Box::pin(tokio::time::sleep(SILENT)),
        }
    }

    /// Whether more may come.
    fn poll_place(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Some(waits) = &mut self.waits {
            self.place = Some(ready!(waits.poll_unpin(context))?);
            self.waits = None;
            self.silent.as_mut().reset(Instant::now() + SILENT);
        }
        match self.silent.poll_unpin(context) {
            Poll::Ready(()) => Poll::Ready(Err(silent())),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn came(&mut self, bytes: usize) {
        self.silent.as_mut().reset(Instant::now() + SILENT);
        self.room = self.room.saturating_sub(bytes);
        if self.room == 0 && self.place.is_none() {
            self.waits = Some(self.large.clone().acquire_owned().boxed());
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            tokio::spawn(async move {
                tokio::time::sleep(PARSED).await;
                drop(place);
            });
        }
    }
}

impl<B> Body for Portion<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Size::Page(page) = &mut self.size
            && let Err(error) = ready!(page.poll_place(context))
        {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = match (frame, &mut self.cut) {
            (Ok(frame), Some(cut)) => frame.map_data(|data| cut.rest_of(&data)),
            (Ok(frame), None) => frame,
            (Err(error), _) => return Poll::Ready(Some(Err(error.into()))),
        };
        let came = frame.data_ref().map_or(0, Bytes::len);
        match &mut self.size {
            Size::Room(room) => match room.checked_sub(came) {
                Some(left) => *room = left,
                None => {
                    let error = format!(
                        "it is larger than {LARGEST} bytes, which nothing is that this operator reads"
                    );
                    return Poll::Ready(Some(Err(error.into())));
                }
            },
            Size::Page(page) => page.came(came),
            Size::Endless => {}
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Empties every list `metadata.managedFields` of JSON that comes in pieces, of one document or of many. What is no
/// JSON it passes on: whoever parses it complains.
#[derive(Debug, Default)]
struct Cut {
    /// What is open, the innermost last.
    open: Vec<Open>,
    /// The last key of an object, or its beginning.
    key: Vec<u8>,
    string: Option<InString>,
    /// How many lists and objects are open inside the list that is left out.
    left_out: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    is_object: bool,
    /// Whether it is the value of a key `metadata`.
    is_metadata: bool,
    /// Whether the next string is a key.
    awaits_key: bool,
}

#[derive(Clone, Copy, Debug)]
struct InString {
    is_key: bool,
    is_escaped: bool,
}

/// No key that matters is longer.
const LONGEST_KEY: usize = 16;

impl Cut {
    /// What is left of the next piece.
    fn rest_of(&mut self, piece: &[u8]) -> Bytes {
        let mut rest = Vec::with_capacity(piece.len());
        for byte in piece {
            let (before, after) = (self.left_out.is_some(), {
                self.read(*byte);
                self.left_out.is_some()
            });
            // The brackets stay.
            if !(before && after) {
                rest.push(*byte);
            }
        }
        rest.into()
    }

    fn read(&mut self, byte: u8) {
        if let Some(string) = &mut self.string {
            match byte {
                _ if string.is_escaped => string.is_escaped = false,
                b'\\' => string.is_escaped = true,
                b'"' => {
                    self.string = None;
                    return;
                }
                _ => {}
            }
            if string.is_key && self.key.len() <= LONGEST_KEY {
                self.key.push(byte);
            }
            return;
        }
        match byte {
            b'"' => {
                let is_key =
                    self.left_out.is_none() && self.open.last().is_some_and(|open| open.awaits_key);
                if is_key {
                    self.key.clear();
                }
                self.string = Some(InString {
                    is_key,
                    is_escaped: false,
                });
            }
            b'{' | b'[' => self.begin(byte == b'{'),
            b'}' | b']' => self.end(),
            b':' | b',' if self.left_out.is_none() => {
                if let Some(open) = self.open.last_mut() {
                    open.awaits_key = open.is_object && byte == b',';
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, is_object: bool) {
        if let Some(depth) = &mut self.left_out {
            *depth += 1;
            return;
        }
        let around = self.open.last();
        let is_value_of = |key: &[u8]| around.is_some_and(|open| open.is_object) && self.key == key;
        if !is_object
            && around.is_some_and(|open| open.is_metadata)
            && is_value_of(b"managedFields")
        {
            self.left_out = Some(0);
            return;
        }
        let is_metadata = is_object && is_value_of(b"metadata");
        self.open.push(Open {
            is_object,
            is_metadata,
            awaits_key: is_object,
        });
    }

    fn end(&mut self) {
        match &mut self.left_out {
            Some(0) => self.left_out = None,
            Some(depth) => *depth -= 1,
            None => {
                self.open.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use api::external::zalando::Postgresql;
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::{Body as _, Frame};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, ListParams};
    use kube::client::{Body, ClientBuilder};
    use kube::{Client, ResourceExt};
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use proptest::{collection, sample};
    use serde_json::{Map, Value, json};

    use tower::{BoxError, Layer, Service};

    use super::{Cut, LARGEST, Portion, Portions};

    /// Empties what `Cut` empties, by the meaning instead of the text.
    fn emptied(value: &mut Value, is_metadata: bool) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    match field {
                        Value::Array(list) if is_metadata && key == "managedFields" => list.clear(),
                        field => emptied(field, key == "metadata"),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| emptied(item, false)),
            _ => {}
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            sample::select(vec!["metadata", "managedFields", "items", "a"]).prop_map(str::to_owned),
            "[\\[\\]{}\",:\\\\a é]{0,6}",
        ]
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            text().prop_map(Value::String),
            any::<i32>().prop_map(|number| json!(number)),
            any::<bool>().prop_map(Value::Bool),
        ];
        leaf.prop_recursive(6, 64, 5, |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                collection::vec((text(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_left_means_the_same(documents in collection::vec(document(), 1..4), size in 1_usize..40,
            pretty in any::<bool>()) {
            let print = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text: Vec<String> = documents.iter().map(|document| print(document).unwrap()).collect();
            let mut cut = Cut::default();
            let left: Vec<u8> = text.join("\n").as_bytes().chunks(size).flat_map(|piece| cut.rest_of(piece)).collect();
            let left: Vec<Value> = serde_json::Deserializer::from_slice(&left).into_iter().collect::<Result<_, _>>()
                .unwrap();
            let mut expected = documents;
            expected.iter_mut().for_each(|document| emptied(document, false));
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn who_wrote_what_is_cut_out_of_lists_and_objects_and_nothing_else_is() {
        let heavy =
            json!([{"manager": "a]b", "fieldsV1": {"f:metadata": {"managedFields": ["x"]}}}]);
        let object = json!({"metadata": {"name": "managedFields", "managedFields": heavy, "uid": "u"},
            "spec": {"managedFields": ["stays"], "metadata": "stays"},
            "data": {"metadata": "{\"managedFields\":[1]}"}});
        let list =
            json!({"items": [object, object], "metadata": {"resourceVersion": "1"}}).to_string();
        let left = Cut::default().rest_of(list.as_bytes());
        let left: Value = serde_json::from_slice(&left).unwrap();
        let mut expected = object;
        expected["metadata"]["managedFields"] = json!([]);
        assert_eq!(left["items"], json!([expected, expected]));
    }

    /// A client of an API server that always answers this.
    fn client(answer: Value) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| {
            let body = Body::from(answer.to_string().into_bytes());
            let head = Response::builder().header("content-type", "application/json");
            async move { Ok::<_, BoxError>(head.body(body).unwrap()) }
        });
        ClientBuilder::new(service, "default")
            .with_layer(&Portions::default())
            .build()
    }

    fn map(more: usize, managers: usize) -> Value {
        let managers: Vec<Value> = (0..managers)
            .map(|number| json!({"manager": format!("m{number}"), "operation": "Apply", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {"f:a": {}}}}))
            .collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "managedFields": managers},
            "data": {"a": "x".repeat(more)}})
    }

    #[tokio::test]
    async fn an_object_is_as_large_as_it_is_without_its_managers() {
        let client = client(map(10, 20_000));
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let read = maps.get("m").await.unwrap();
        assert_eq!(read.managed_fields(), []);
        assert_eq!(read.data.unwrap()["a"].len(), 10);
    }

    #[tokio::test]
    async fn who_wrote_a_cluster_of_the_zalando_operator_is_read() {
        let client = client(map(0, 3));
        let clusters: Api<Postgresql> = Api::default_namespaced(client.clone());
        let read = clusters.get("m").await.unwrap();
        assert_eq!(read.managed_fields().len(), 3);
        let maps: Api<ConfigMap> = Api::namespaced(client, "postgresqls");
        assert_eq!(maps.get("m").await.unwrap().managed_fields(), []);
    }

    #[tokio::test]
    async fn one_that_nothing_would_be_read_of_is_not_read() {
        let client = client(map(LARGEST, 0));
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let error = maps.get("m").await.unwrap_err();
        assert!(
            format!("{error:?}").contains("larger than 786432 bytes"),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_list_may_be_as_large_as_its_objects() {
        let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {}, "items": [map(LARGEST, 1)]});
        let maps: Api<ConfigMap> = Api::default_namespaced(client(list));
        let read = maps.list(&ListParams::default().limit(3)).await.unwrap();
        assert_eq!(read.items[0].managed_fields(), []);
    }

    /// A body that comes by so many pieces of 100 KiB, and then is silent.
    struct Pieces(usize);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            if self.0 == 0 {
                return Poll::Pending;
            }
            self.0 -= 1;
            let piece = Bytes::from(vec![b' '; 100 << 10]);
            Poll::Ready(Some(Ok(Frame::data(piece))))
        }
    }

    /// So many pieces of a list come.
    async fn list(layer: &Portions) -> Portion<Pieces> {
        let answer = |_| async { Ok::<_, BoxError>(Response::new(Pieces(100))) };
        let mut service = layer.layer(tower::service_fn(answer));
        let asked = Request::get("/api/v1/pods?limit=3").body(()).unwrap();
        service.call(asked).await.unwrap().into_body()
    }

    /// How many of so many pieces come within a second, or the error instead.
    async fn come(body: &mut Portion<Pieces>, wanted: usize) -> Result<usize, String> {
        for number in 0..wanted {
            let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            match tokio::time::timeout(Duration::from_secs(1), next).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(None) | Err(_) => return Ok(number),
            }
        }
        Ok(wanted)
    }

    #[tokio::test(start_paused = true)]
    async fn of_large_lists_one_is_read_at_a_time_and_small_ones_pass() {
        let layer = Portions::default();
        let mut first = list(&layer).await;
        let mut second = list(&layer).await;
        assert_eq!(come(&mut first, 50).await, Ok(50));
        assert_eq!(come(&mut second, 50).await, Ok(3));
        assert_eq!(come(&mut list(&layer).await, 2).await, Ok(2));
        drop(first);
        assert_eq!(come(&mut second, 50).await, Ok(50));
        let mut third = list(&layer).await;
        assert_eq!(come(&mut third, 50).await, Ok(3));
        // Whoever waits for a place does not hold the next one up when it goes.
        drop(third);
        drop(second);
        assert_eq!(come(&mut list(&layer).await, 50).await, Ok(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_falls_silent_is_an_error_and_gives_its_place_back() {
        let layer = Portions::default();
        let mut silent = list(&layer).await;
        assert_eq!(come(&mut silent, 100).await, Ok(100));
        tokio::time::sleep(Duration::from_secs(28)).await;
        assert_eq!(come(&mut silent, 1).await, Ok(0));
        let error = come(&mut silent, 1).await.unwrap_err();
        assert_eq!(error, "nothing came of the list for 30 s");
        let never = |_| std::future::pending::<Result<Response<Pieces>, BoxError>>();
        let mut service = layer.layer(tower::service_fn(never));
        let asked = Request::get("/api/v1/pods?limit=3").body(()).unwrap();
        assert!(service.call(asked).await.is_err());
    }
}
