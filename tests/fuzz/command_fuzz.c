/*  Commands of the Raft log as a broken or hostile master could have put them there:
    two bytes of length and a command, again and again, applied to one ledger. Whatever
    comes, it is refused without a trace or applied, and the ledger stays readable. */
#include "tests/unit/ledger_world.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void run (ledger_world_t *world, const record_t *kind, const void *command)
{
    if (ledger_world_apply (world, kind, command))
        abort ();
}

/*  Two workers and two jobs, so that commands find something. */
static void populate (ledger_world_t *world)
{
    static const char *command[] = {"train"};
    token_t token = {.key = key_of (9), .uses = 9, .not_after_ms = 9};
    run (world, &add_token_record, &(add_token_t){token});
    for (unsigned n = 1; n <= 2; n++) {
        char name[] = {'w', (char)('0' + n), 0};
        worker_t worker = {
            .key = key_of (n), .name = name, .session = 1, .lane = "tcp://1.2.3.4:5"};
        worker.resources = (resources_t){.cpu = 4, .memory = 1000, .gpus = 2};
        run (world, &add_worker_record, &(add_worker_t){worker, token.key});
        run (world, &set_worker_record, &(set_worker_t){worker, 1, true});
    }
    job_spec_t spec;
    record_init (&job_spec_record, &spec);
    spec.name = "mnist";
    spec.command = (record_strings_t){command, 1};
    spec.gang = (gang_t){2, 3};
    spec.aggregation.shards = 1;
    run (world, &submit_job_record, &(submit_job_t){.spec = spec});
    run (world, &submit_job_record, &(submit_job_t){.spec = spec});
    place_t places[] = {{0, key_of (1)}, {1, key_of (2)}};
    run (world, &place_job_record,
         &(place_job_t){.job_id = "mnist-1", .tasks = {places, 2}, .shards = {places, 1}});
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    ledger_world_t world;
    ledger_world_init (&world);
    populate (&world);
    while (size >= 2) {
        size_t length = ((size_t)data[0] << 8 | data[1]) % 4096;
        data += 2;
        size -= 2;
        length = length < size ? length : size;
        ledger_world_apply_bytes (&world, data, length);
        data += length;
        size -= length;
    }
    const char *wrong = ledger_world_check (world.tables, &world.arena, false);
    if (wrong) {
        fprintf (stderr, "%s\n", wrong);
        abort ();
    }
    ledger_world_clear (&world);
    return 0;
}
