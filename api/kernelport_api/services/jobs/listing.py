"""A job's items: from any place on, of some states, by what their ids have in them."""

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.jobs.item_records import bytes_of, items_of
from kernelport.jobs.records import JobRecord
from kernelport.limits import MAX_NAME
from kernelport.v1 import job_pb2 as pb
from kernelport_api.services.jobs.page_tokens import item_token, read_item_token
from kernelport_api.services.jobs.store import JobStore

# Stock clients refuse messages over 4 MiB.
ANSWER_BYTES = 2 * 2**20
DEFAULT_ITEMS, MAX_ITEMS = 100, 5000
# Where ids are looked through, one call looks through so many pages of the store at most.
MOST_PAGES = 16


async def list_items(store: JobStore, record: JobRecord, request: pb.ListItemsRequest) -> pb.ListItemsResponse:
    """The items that are asked for, in the order of submission.

    Raises:
        InvalidArgumentError: when a field is not what it should be.
        StoredError: one of them cannot be read.
    """
    _check(request)
    most, only = min(request.page_size or DEFAULT_ITEMS, MAX_ITEMS), bytes_of(record, request.states)
    if request.offset:
        first, place = await _place(store, record, request.offset, only if request.states else b"")
    else:
        first, place = read_item_token(request.page_token)
    pages, answer, size = record.pages, pb.ListItemsResponse(), 0
    for number in range(first, pages):
        if request.id and number == first + MOST_PAGES:
            answer.next_page_token = item_token(number, 0)
            break
        states = await store.states(record.id, number)
        if request.states and not any(each in states for each in only):
            place = 0
            continue
        page = await store.page(record, number)
        states, attempts, results = await store.results(record.id, number)
        named = request.id.encode()
        for item in items_of(
            record, page, states, attempts, results, inputs=request.inputs, first=place, only=only, named=named
        ):
            size += item.ByteSize()
            if len(answer.items) == most or (answer.items and size > ANSWER_BYTES):
                answer.next_page_token = item_token(number, item.index - page.first_index)
                return answer
            answer.items.append(item)
        place = 0
    return answer


async def _place(store: JobStore, record: JobRecord, offset: int, only: bytes) -> tuple[int, int]:
    """The page, and the place in it, to begin at so as to pass over so many items.

    Args:
        only: the states of the items that count, a byte each; empty when all do.
    """
    if not only:
        number = await store.page_at(record, offset)
        return number, offset - (await store.page(record, number)).first_index if number < record.pages else 0
    left = offset
    for number, states in sorted((await store.all_states(record.id)).items()):
        count = sum(states.count(each) for each in only)
        if left < count:
            page = await store.page(record, number)
            places = sorted(place for place, state in zip(page.places, states, strict=True) if state in only)
            return number, places[left]
        left -= count
    return record.pages, 0


def _check(request: pb.ListItemsRequest) -> None:
    if len(request.id) > MAX_NAME:
        raise _wrong("id", f"expected at most {MAX_NAME} characters, got {len(request.id)}")
    if request.offset and (request.page_token or request.id):
        raise _wrong("offset", "expected none beside a page_token or an id")


def _wrong(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation(field, description)])
