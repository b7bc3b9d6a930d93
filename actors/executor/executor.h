/*  executor - the actor that brings a worker's tasks in line with its orders

    Takes the full list of orders (task_orders) and works towards it: starts what
    is missing, replaces what has a higher attempt, stops what is to stop or is
    not named any more (signal, grace, kill), and tells its agent the state of
    all tasks whenever one changes. Whether to try again is not its business: the
    ledger counts failures and orders the next attempt.

    Sends: process_start, process_signal to "process"; task_states to "agent".
    Takes: task_orders; process_ended.
*/
#pragma once

#include "actors/executor/messages.h"
#include "runtime/behaviour.h"

extern const behaviour_t executor_behaviour; /* "executor"; no arguments */
