/*  catalog - every kind that nodes send each other, and who may send it

    The protocol, as links enforce it and as the protocol page lists it. */
#pragma once

#include "runtime/catalog.h"

extern const catalog_t protocol_catalog;
