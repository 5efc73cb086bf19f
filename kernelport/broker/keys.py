"""Every Redis key that KernelPort makes.

| key | type | lives |
|---|---|---|
| kp:workers | set of worker ids | a minute after the last heartbeat of any worker |
| kp:worker:<id> | serialized WorkerRecord | until the worker's heartbeat is overdue |
| kp:revisions:<deployment> | hash by worker id: the revision it holds, and until when | a minute after the last hold |
| kp:drain:<worker id> | `asked` or `done` | a day after a worker was asked to finish and go |
| kp:signature:<deployment> | serialized Signature | 30 days after a worker last loaded it |
| kp:front-doors | set of front door names | a minute after the last heartbeat of any front door |
| kp:front-door:<name> | serialized FrontDoorRecord | until the front door's heartbeat is overdue |
| kp:replies:<front door> | list of serialized Reply | a minute after the last reply, or until the front door stops |
| kp:on-disk | empty | a minute after work was last acknowledged |
| kp:probe | empty | a minute after somebody last asked whether Redis takes writes |
| kp:cancelled | sorted set of request ids by time | ten minutes after the last cancellation |
| kp:paused | sorted set of request ids by time | ten minutes after the last pause |
| kp:progress:<batch> | hash: the next piece to send, those begun | until the batch is done, or an hour after a step |
| kp:claim:<id> | a large request or response | until it is consumed, or some time past its deadline |
| kp:attempts:<batch> | list of serialized Attempt | until the batch is done, or an hour after its last attempt |
| kp:done:<batch> | empty | while the batch could be delivered again |
| kp:result:<request id> | hash: digest, call, response or its key | while in flight, then as long as results are kept |
| kp:response:<random> | a large response that is kept for a request id | as its result; ten minutes before it is one |
| kp:redeliveries, kp:worker-deaths | hash by deployment: how many there have been | 30 days after the last one |
| kp:kept:<deployment> | hash by Unix second: bytes of the results that are kept until then | as long as these results |
| kp:job:<job> | hash: what is known of a job | while it is active, then for its retention or until it is deleted |
| kp:job:<job>:spec | serialized JobSpec with shared inputs and secrets | as long as the job |
| kp:job:<job>:pages | hash of serialized Page by number | as long as the job |
| kp:job:<job>:states | hash by page: a byte an item | as long as the job |
| kp:job:<job>:attempts | hash by page: how often workers took its items, a byte an item | as long as the job |
| kp:job:<job>:ids | hash: digests of item ids, and their pages | as long as the job |
| kp:job:<job>:places | hash of buckets that take the place of ids | once the job is over, as long as it is kept |
| kp:job:<job>:digests | sorted set by number of items: page, and the running digest behind it | as long as the job |
| kp:job:<job>:ready | list of slices that no worker has taken | while the job is active |
| kp:job:<job>:log | stream of serialized BatchResult and states | as long as the job |
| kp:job:<job>:index | hash by page: the log entries about it | as long as the job |
| kp:job:<job>:counted | hash by page: JSON of what items that have not succeeded take of a day | as long as the job |
| kp:job:<job>:hook | hash: what its webhook has been told | until the job is deleted, at most 30 days |
| kp:job-request:<request id> | hash: job, digest of its spec | as long as the job, until its deletion begins |
| kp:jobs | sorted set of jobs by creation | for good; an entry as long as its job |
| kp:jobs:active:<deployment> | sorted set of jobs by what they have had | for good; an entry while its job is active |
| kp:jobs:clock:<deployment> | where a job that becomes active begins | a day after a slice was last taken |
| kp:jobs:tenants:<deployment> | sorted set of tenants by what they had | for good; an entry while jobs are active |
| kp:jobs:tenants-clock:<deployment> | where a tenant that becomes active begins | a day after a slice was last taken |
| kp:jobs:looked:<deployment> | empty | a second after somebody has looked for jobs that expire |
| kp:jobs:queued:<deployment> | set of tickets in the queue | for good; a few entries while jobs are active |
| kp:jobs:taken:<deployment> | hash by ticket: the slice that a worker runs | for good; an entry while it runs |
| kp:jobs:voices:<job> | hash by name: SHA-256 of a recording, transcript | for good: until it succeeds or is deleted |
| kp:jobs:recording:<SHA-256> | hash: bytes of a recording, pins by jobs | for good: until no job has it pinned |
| kp:jobs:finishing | sorted set of jobs whose manifest is due | for good; an entry until the job is shrunk |
| kp:jobs:expiring | sorted set of finished jobs by end of retention | for good; an entry until the job is deleted |
| kp:jobs:deleting | sorted set of jobs whose files are being deleted | for good; an entry until they are gone |
| kp:jobs:stack | hash: the id by which outputs name this stack, and how many jobs have ended | for good |
| kp:jobs:storage | hash: id and URL of the storage that front doors keep outputs in | for good |
| kp:jobs:storage:holds | hash by front door: id of the storage it sees, and until when | a minute after the last hold |
| kp:jobs:hooks | sorted set of jobs whose webhooks are due | for good; an entry until all is told |
| kp:encoded-voice:<SHA-256 of a recording> | hash of encoded voices by their parameters | an hour after its last use |
| kp:encoded-voices | sorted set of those SHA-256 by time | an hour after the last encoding |
| kp:voices | hash of serialized Voice by name | for good: until deleted |
| kp:voice-recordings | hash of recordings by name of voice | for good: until deleted |
| kp:files | hash by id: JSON of an uploaded file | for good; an entry until it expires or is deleted |
| kp:batches | hash by id: JSON of a batch of a file's requests | for good; an entry until some time after its end |
| kp:keys | hash by id: JSON of a key, with digests of its secrets | for good: until it is revoked |
| kp:keys:used | hash by id: Unix second of its last use | for good; an entry as long as its key |
| kp:keys:version | how often keys or tenants have changed | for good |
| kp:tenants | hash by name: JSON of a tenant | for good |
| kp:usage:<day> | hash by tenant and what was used: how much | 400 days after the last use in it |
| kp:usage-told:<front door> | how often it has told what callers used | a day after it last told |
| kp:quota-calls:<holder> | hash by front door: its calls in flight | a day after a call of the tenant or key |
| kp:quota-rate:<holder> | until when its next call is early, in seconds of Unix time | a second past that |
| kp:quota-day:<holder>:<day> | hash: characters, bytes | two days after its last call or item |
| kp:signing | what sessions and addresses are signed with | for good |
| kp:jobs~<tenant>, kp:voices~<tenant> and so on | as without the tenant, of which it is the default one | as these |
| kp:autoscale:<fleet>:lock | the fencing token of the autoscaler at work | until it has not renewed it for a while |
| kp:autoscale:<fleet>:fence | the last fencing token | 30 days after an autoscaler last started |
| kp:autoscale:<fleet>:machines | hash by name: JSON of a machine | two days after the autoscaler last looked |
| kp:autoscale:<fleet>:report | JSON: machines, money, what comes next | two days after the autoscaler last looked |
| kp:autoscale:rates:<deployment> | hash: service_rate, boot_s | 30 days after they were last measured |
| kp.<deployment> | list of Celery messages | for good: the queue itself |
| kp:dlq:<deployment> | hash of serialized DeadLetter by id | for good: until replayed or purged |
| kp:unacked, kp:unacked_index, kp:unacked_mutex | kombu's record of delivered batches | for good; empty when idle |
| kp:binding* | kombu's routing table | for good; a few entries a queue |
"""

from kernelport.names import DEFAULT_TENANT, MARK

# Redis drops the connection of who sends it a longer value, unless its proto-max-bulk-len is raised.
LARGEST_VALUE_BYTES = 512 * 2**20

WORKERS = "kp:workers"
FRONT_DOORS = "kp:front-doors"
ENCODED_VOICES = "kp:encoded-voices"
VOICES = "kp:voices"
VOICE_RECORDINGS = "kp:voice-recordings"
FILES = "kp:files"
BATCHES = "kp:batches"
KEYS = "kp:keys"
KEYS_USED = "kp:keys:used"
KEYS_VERSION = "kp:keys:version"
TENANTS = "kp:tenants"
SIGNING = "kp:signing"
UNACKED = "kp:unacked"
UNACKED_INDEX = "kp:unacked_index"
UNACKED_MUTEX = "kp:unacked_mutex"
BINDING = "kp:binding"
REDELIVERIES = "kp:redeliveries"
WORKER_DEATHS = "kp:worker-deaths"
CLAIM = "kp:claim:"
RESULT = "kp:result:"
RESPONSE = "kp:response:"

JOBS = "kp:jobs"
FINISHING_JOBS = "kp:jobs:finishing"
EXPIRING_JOBS = "kp:jobs:expiring"
DELETING_JOBS = "kp:jobs:deleting"
JOB_HOOKS = "kp:jobs:hooks"
JOB_STORAGE = "kp:jobs:storage"
JOB_STORAGE_HOLDS = "kp:jobs:storage:holds"
JOB_STACK = "kp:jobs:stack"

# What lives for good: a key that begins with one of these. Any other expires.
PERMANENT = ("kp.", "kp:dlq:", UNACKED, JOBS, VOICES, VOICE_RECORDINGS, FILES, BATCHES, KEYS, TENANTS, SIGNING, BINDING)

# Written behind what is acknowledged: when it is on the disk of Redis, so is that.
ON_DISK = "kp:on-disk"

# Written to see whether Redis takes writes.
PROBE = "kp:probe"

# The requests whose callers hung up, by Unix time.
CANCELLED = "kp:cancelled"

# The streams whose listeners are far behind, by Unix time.
PAUSED = "kp:paused"

INDEX_TTL_S = 60
REPLIES_TTL_S = 60
CANCELLED_TTL_S = 600
PAUSED_TTL_S = 600
FRAME_TTL_S = 600
STAGED_TTL_S = 600
# Of a spec whose job is being made.
SPEC_TTL_S = 600
ON_DISK_TTL_S = 60
PROBE_TTL_S = 60
ATTEMPTS_TTL_S = 3600
DRAIN_TTL_S = 24 * 3600
FENCE_TTL_S = 30 * 24 * 3600
# What machines cost is counted over 24 hours.
MACHINES_TTL_S = 48 * 3600
RATES_TTL_S = 30 * 24 * 3600
TALLIES_TTL_S = 30 * 24 * 3600
USAGE_TTL_S = 400 * 24 * 3600
USAGE_TOLD_TTL_S = 24 * 3600
QUOTA_CALLS_TTL_S = 24 * 3600
QUOTA_DAY_TTL_S = 48 * 3600
SIGNATURE_TTL_S = 30 * 24 * 3600
HOOK_TTL_S = 30 * 24 * 3600
DELETING_TTL_S = 30 * 24 * 3600
JOBS_CLOCK_TTL_S = 24 * 3600
ENCODED_VOICE_TTL_S = 3600
# What Redis needs for a result beside the response.
RESULT_OVERHEAD_BYTES = 300
# A claim outlives its deadline: it may have to go into a dead letter.
PAYLOAD_TTL_PAST_DEADLINE_S = 600


def owned(key: str, tenant: str) -> str:
    """What a key is called that holds things of one tenant alone."""
    return key if tenant == DEFAULT_TENANT else of_tenant(key, tenant)


def of_tenant(key: str, tenant: str) -> str:
    """The same of another tenant than the default one."""
    return f"{key}{MARK}{tenant}"


def worker(worker_id: str) -> str:
    """Holds the WorkerRecord of a live worker."""
    return f"kp:worker:{worker_id}"


def revisions(deployment: str) -> str:
    """Holds the revisions of a deployment that workers serve, or are about to."""
    return f"kp:revisions:{deployment}"


def drain(worker_id: str) -> str:
    """Exists when a worker is to finish what it has and go; says whether it has."""
    return f"kp:drain:{worker_id}"


def autoscale_lock(fleet: str) -> str:
    """Held by the one autoscaler of a fleet that acts."""
    return f"kp:autoscale:{fleet}:lock"


def autoscale_fence(fleet: str) -> str:
    """Counts the autoscalers that have held the lock."""
    return f"kp:autoscale:{fleet}:fence"


def autoscale_machines(fleet: str) -> str:
    """What is known of a fleet's machines, those that ended in the last day included."""
    return f"kp:autoscale:{fleet}:machines"


def autoscale_report(fleet: str) -> str:
    """What the autoscaler has told of itself last."""
    return f"kp:autoscale:{fleet}:report"


def autoscale_rates(deployment: str) -> str:
    """What was measured of a deployment's workers."""
    return f"kp:autoscale:rates:{deployment}"


def signature(deployment: str) -> str:
    """Holds what the deployment's model takes and gives, as the last worker that loaded it found."""
    return f"kp:signature:{deployment}"


def front_door(name: str) -> str:
    """Holds the FrontDoorRecord of a live front door."""
    return f"kp:front-door:{name}"


def replies(front_door_name: str) -> str:
    """The list that a front door reads its replies from."""
    return f"kp:replies:{front_door_name}"


def claim(request_id: str) -> str:
    """Holds a tensor message that is too large for the queue."""
    return f"{CLAIM}{request_id}"


def attempts(batch_id: str) -> str:
    """Who took a batch, oldest first."""
    return f"kp:attempts:{batch_id}"


def progress(batch_id: str) -> str:
    """How far a request that is answered in pieces has come, and which pieces workers have died over."""
    return f"kp:progress:{batch_id}"


def done(batch_id: str) -> str:
    """Exists when a batch needs no further delivery."""
    return f"kp:done:{batch_id}"


def result(request_id: str) -> str:
    """Holds what is known of a request id that a caller chose, whatever the deployment."""
    return f"{RESULT}{request_id}"


def response(stage: str) -> str:
    """Holds a large response that is kept for a request id."""
    return f"{RESPONSE}{stage}"


def usage(day: str) -> str:
    """What tenants have used in a day: the number of days since 1970 in UTC."""
    return f"kp:usage:{day}"


def usage_told(front_door_name: str) -> str:
    """How often a front door has told what callers have used: nothing is counted twice."""
    return f"kp:usage-told:{front_door_name}"


def quota_calls(holder: str) -> str:
    """What a tenant, or a key, has in flight, by front door."""
    return f"kp:quota-calls:{holder}"


def quota_rate(holder: str) -> str:
    """How far a tenant, or a key, is ahead of the calls that it may make in a second."""
    return f"kp:quota-rate:{holder}"


def quota_day(holder: str, day: str) -> str:
    """What a tenant, or a key, has used in a day: the number of days since 1970 in UTC."""
    return f"kp:quota-day:{holder}:{day}"


def kept(deployment: str) -> str:
    """Counts the bytes of the deployment's results that are kept for their request ids, by when they are gone."""
    return f"kp:kept:{deployment}"


def dead_letters(deployment: str) -> str:
    """The deployment's dead letters by id."""
    return f"kp:dlq:{deployment}"


def job(job_id: str, part: str = "") -> str:
    """A job's own hash, or one of its parts: spec, pages, states, attempts, ids, places, digests, ready, log, index,
    counted, hook."""
    return f"kp:job:{job_id}:{part}" if part else f"kp:job:{job_id}"


def job_request(request_id: str) -> str:
    """Names the job that was made under a request id."""
    return f"kp:job-request:{request_id}"


def active_jobs(deployment: str) -> str:
    """The deployment's active jobs by the cost they have had, divided by their priority."""
    return f"kp:jobs:active:{deployment}"


def jobs_looked_at(deployment: str) -> str:
    """Exists when somebody has looked just now for jobs of the deployment that expire."""
    return f"kp:jobs:looked:{deployment}"


def jobs_clock(deployment: str) -> str:
    """What the job of the deployment that was served last had had, as `active_jobs` counts it."""
    return f"kp:jobs:clock:{deployment}"


def job_tenants(deployment: str) -> str:
    """The tenants that have active jobs of the deployment, by the cost they have had, divided by their weight."""
    return f"kp:jobs:tenants:{deployment}"


def tenants_clock(deployment: str) -> str:
    """What the tenant that was served last had had, as `job_tenants` counts it."""
    return f"kp:jobs:tenants-clock:{deployment}"


def queued_tickets(deployment: str) -> str:
    """The tickets that are in the deployment's queue."""
    return f"kp:jobs:queued:{deployment}"


def taken_slices(deployment: str) -> str:
    """The slices of jobs that workers run, by ticket."""
    return f"kp:jobs:taken:{deployment}"


def job_voices(job_id: str) -> str:
    """What each name of a registered voice means to a job: the recording's SHA-256, then its transcript."""
    return f"kp:jobs:voices:{job_id}"


def job_recording(sha256: str) -> str:
    """Holds a recording that jobs have pinned, and how many names in jobs mean it."""
    return f"kp:jobs:recording:{sha256}"


def encoded_voice(recording_sha256: str) -> str:
    """What workers have made of a recording, one field for each set of parameters."""
    return f"kp:encoded-voice:{recording_sha256}"
