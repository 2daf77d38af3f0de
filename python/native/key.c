/* SPDX-License-Identifier: MIT
 * What items of a priority queue are sorted by, as a number and bytes that the library compares: in
 * the order that Python's own comparison has.
 *
 * The number is the largest whole one that is not above the first element; so whole numbers need no
 * bytes, and programs in C that put by numbers are sorted in. Behind it:
 *
 *   of the first element what the number leaves open, then each further element. None of them is
 *   the beginning of another one of its place, so that the first that differ decide.
 *
 *   rest of a number     1                               whole (left out if it is all)
 *                        2, 8 bytes                      a fraction
 *                        2 | 3, length, magnitude        -inf | less than int64_t: complements
 *                        5, length, magnitude | 6 | 7    more than int64_t | inf | nan
 *   other first element  as further ones, above all numbers
 *   further elements     0x10, 8 bytes, rest             a number
 *                        0x20                            None
 *                        0x30 | 0x38, bytes, 0 0         str, bytes; 0 in it is 0 255
 *                        0x40, elements, 0               tuple, list
 *
 * It ends before the first element that is none of these, and at KINPY_SHORT bytes: what is equal
 * so far comes out as it was put. */
#include "key.h"

#include <math.h>
#include <string.h>

#define DEPTH 64 /* rows in rows; it may be one that contains itself */

enum { CUT = 1 }; /* beside 0 and, with an exception, -1: there is nothing to compare from here */

/* Of that type, or of one that compares as it does. */
static int is_like(PyObject *value, PyTypeObject *type)
{
    return Py_TYPE(value) == type || (PyObject_TypeCheck(value, type) &&
                                      Py_TYPE(value)->tp_richcompare == type->tp_richcompare);
}

static int is_row(PyObject *value)
{
    return is_like(value, &PyTuple_Type) || is_like(value, &PyList_Type);
}

static int is_number(PyObject *value)
{
    return is_like(value, &PyLong_Type) || is_like(value, &PyFloat_Type);
}

static int append(struct kinpy_key *key, const void *data, size_t bytes)
{
    size_t room = sizeof key->data - key->bytes, fits = bytes < room ? bytes : room;
    memcpy(key->data + key->bytes, data, fits);
    key->bytes += fits;
    return fits < bytes ? CUT : 0;
}

static int append_byte(struct kinpy_key *key, unsigned char byte)
{
    return append(key, &byte, 1);
}

static void big_endian(uint64_t word, unsigned char ret_bytes[8])
{
    for (int i = 0; i < 8; i++)
        ret_bytes[i] = (unsigned char)(word >> (56 - 8 * i));
}

static int append_word(struct kinpy_key *key, uint64_t word)
{
    unsigned char bytes[8];
    big_endian(word, bytes);
    return append(key, bytes, sizeof bytes);
}

/* --- numbers -------------------------------------------------------------------------------- */

/* Its length and then its bytes, so that the longer one is the larger one. */
static int append_magnitude(struct kinpy_key *key, PyObject *absolute)
{
    PyObject *bits = PyObject_CallMethod(absolute, "bit_length", NULL), *bytes = NULL;
    Py_ssize_t n = bits == NULL ? -1 : PyLong_AsSsize_t(bits);
    Py_XDECREF(bits);
    if (n >= 0)
        bytes = PyObject_CallMethod(absolute, "to_bytes", "ns", n / 8 + 1, "big");
    if (bytes == NULL)
        return -1;
    int r = append_word(key, (uint64_t)PyBytes_GET_SIZE(bytes));
    if (r == 0)
        r = append(key, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return r;
}

static int write_huge(struct kinpy_key *key, PyObject *number, int negative, int64_t *ret_whole)
{
    *ret_whole = negative ? INT64_MIN : INT64_MAX;
    int r = append_byte(key, negative ? 3 : 5);
    PyObject *absolute = PyLong_Type.tp_as_number->nb_absolute(number);
    size_t begin = key->bytes;
    if (absolute == NULL)
        return -1;
    if (r == 0)
        r = append_magnitude(key, absolute);
    for (size_t i = begin; negative && i < key->bytes; i++)
        key->data[i] = (unsigned char)~key->data[i];
    Py_DECREF(absolute);
    return r;
}

static int write_int(struct kinpy_key *key, PyObject *number, int64_t *ret_whole)
{
    int overflow;
    *ret_whole = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow == 0 && *ret_whole != INT64_MIN && *ret_whole != INT64_MAX)
        return append_byte(key, 1);
    return write_huge(key, number, overflow < 0 || (overflow == 0 && *ret_whole < 0), ret_whole);
}

/* What is above the whole number below; of a negative one what is below the whole number above,
 * since that is exact, too. */
static int write_fraction(struct kinpy_key *key, double number, int64_t *ret_whole)
{
    double whole, fraction = modf(number, &whole), size = fabs(fraction);
    uint64_t bits;
    *ret_whole = (int64_t)whole - (fraction < 0);
    if (fraction == 0)
        return append_byte(key, 1);
    memcpy(&bits, &size, sizeof bits);
    int r = append_byte(key, 2);
    return r != 0 ? r : append_word(key, fraction < 0 ? ~bits : bits);
}

static int write_float(struct kinpy_key *key, double number, int64_t *ret_whole)
{
    if (number > -0x1p63 && number < 0x1p63)
        return write_fraction(key, number, ret_whole);
    *ret_whole = number < 0 ? INT64_MIN : INT64_MAX;
    if (isnan(number))
        return append_byte(key, 7);
    if (isinf(number))
        return append_byte(key, number < 0 ? 2 : 6);
    PyObject *same = PyLong_FromDouble(number);
    int r = same == NULL ? -1 : write_huge(key, same, number < 0, ret_whole);
    Py_XDECREF(same);
    return r;
}

/* What comes behind *ret_whole. */
static int write_number(struct kinpy_key *key, PyObject *number, int64_t *ret_whole)
{
    return PyLong_Check(number) ? write_int(key, number, ret_whole)
                                : write_float(key, PyFloat_AS_DOUBLE(number), ret_whole);
}

/* --- elements ------------------------------------------------------------------------------- */

static int write_whole_number(struct kinpy_key *key, PyObject *number)
{
    int64_t whole;
    size_t at = key->bytes + 1;
    int r = append(key, "\x10\0\0\0\0\0\0\0", 9);
    if (r != 0)
        return r;
    r = write_number(key, number, &whole);
    big_endian((uint64_t)whole ^ 1ull << 63, key->data + at);
    return r;
}

static int write_run(struct kinpy_key *key, unsigned char tag, const char *data, size_t bytes)
{
    int r = append_byte(key, tag);
    while (r == 0 && bytes > 0) {
        const char *zero = memchr(data, 0, bytes);
        size_t n = zero == NULL ? bytes : (size_t)(zero - data);
        r = append(key, data, n);
        if (r == 0 && zero != NULL) {
            r = append(key, "\0\xff", 2);
            n++;
        }
        data += n;
        bytes -= n;
    }
    return r != 0 ? r : append(key, "\0\0", 2);
}

/* In UTF-8, which sorts as the characters do; those that it does not have are written as if. */
static int write_str(struct kinpy_key *key, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return write_run(key, 0x30, (const char *)PyUnicode_1BYTE_DATA(text),
                         (size_t)PyUnicode_GET_LENGTH(text));
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (bytes == NULL)
        return -1;
    int r = write_run(key, 0x30, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return r;
}

static int write_bytes(struct kinpy_key *key, PyObject *value)
{
    PyObject *bytes = PyBytes_FromObject(value);
    if (bytes == NULL)
        return -1;
    int r = write_run(key, 0x38, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return r;
}

static int is_known(PyObject *value)
{
    return value == Py_None || is_number(value) || is_like(value, &PyUnicode_Type) ||
           is_like(value, &PyBytes_Type) || is_like(value, &PyByteArray_Type) || is_row(value);
}

/* The value, or what plain says it is sorted by; a new reference. NULL: an exception, or CUT. */
static PyObject *known(PyObject *value, PyObject *plain, int *ret_r)
{
    *ret_r = 0;
    if (is_known(value))
        return Py_NewRef(value);
    PyObject *other = PyObject_CallOneArg(plain, value);
    if (other != NULL && is_known(other))
        return other;
    *ret_r = other == NULL ? -1 : CUT;
    Py_XDECREF(other);
    return NULL;
}

static int write_element(struct kinpy_key *key, PyObject *value, PyObject *plain);

/* From the element of that number on. Nobody changes a tuple meanwhile. */
static int write_elements(struct kinpy_key *key, PyObject *row, Py_ssize_t first, PyObject *plain)
{
    int r = 0;
    for (Py_ssize_t i = first; r == 0 && i < PyTuple_GET_SIZE(row); i++)
        r = write_element(key, PyTuple_GET_ITEM(row, i), plain);
    return r;
}

static int write_row(struct kinpy_key *key, PyObject *value, PyObject *plain)
{
    if (key->depth == DEPTH)
        return CUT;
    PyObject *row = PySequence_Tuple(value);
    int r = row == NULL ? -1 : append_byte(key, 0x40);
    key->depth++;
    if (r == 0)
        r = write_elements(key, row, 0, plain);
    key->depth--;
    Py_XDECREF(row);
    return r != 0 ? r : append_byte(key, 0);
}

static int write_known(struct kinpy_key *key, PyObject *value, PyObject *plain)
{
    if (value == Py_None)
        return append_byte(key, 0x20);
    if (is_number(value))
        return write_whole_number(key, value);
    if (PyUnicode_Check(value))
        return write_str(key, value);
    return is_row(value) ? write_row(key, value, plain) : write_bytes(key, value);
}

static int write_element(struct kinpy_key *key, PyObject *value, PyObject *plain)
{
    int r;
    PyObject *it = known(value, plain, &r);
    if (it != NULL)
        r = write_known(key, it, plain);
    Py_XDECREF(it);
    return r;
}

/* --- all of it ------------------------------------------------------------------------------ */

static int not_sorted(PyObject *value)
{
    PyErr_Format(PyExc_TypeError,
                 "items are sorted by numbers, str, bytes, dates and times, None, and tuples, "
                 "lists and ordered dataclasses that begin with such; not by %.200s: say by what "
                 "with priority=, or with key= of the queue",
                 Py_TYPE(value)->tp_name);
    return -1;
}

/* Nothing but the beginnings of rows. */
static int is_nothing(const struct kinpy_key *key)
{
    for (size_t i = 0; i < key->bytes; i++)
        if (key->data[i] != 0x40)
            return 0;
    return 1;
}

/* A number, or what is above all numbers. It must be one or the other. */
static int write_first(struct kinpy_key *key, PyObject *value, PyObject *plain)
{
    int r;
    PyObject *it = known(value, plain, &r);
    key->priority = INT64_MAX;
    if (it == NULL)
        return r == CUT ? not_sorted(value) : r;
    r = is_number(it) ? write_number(key, it, &key->priority) : write_known(key, it, plain);
    if (r == CUT && is_nothing(key))
        r = not_sorted(value);
    Py_DECREF(it);
    return r;
}

static int write_all(struct kinpy_key *key, PyObject *row, PyObject *plain)
{
    key->priority = INT64_MIN;
    if (PyTuple_GET_SIZE(row) == 0)
        return 0;
    int r = write_first(key, PyTuple_GET_ITEM(row, 0), plain);
    return r != 0 ? r : write_elements(key, row, 1, plain);
}

int kinpy_key_of(PyObject *value, PyObject *plain, struct kinpy_key *ret_key)
{
    int r;
    ret_key->bytes = 0;
    ret_key->depth = 0;
    PyObject *it = known(value, plain, &r);
    if (it == NULL)
        return r == CUT ? not_sorted(value) : r;
    if (is_row(it)) {
        PyObject *row = PySequence_Tuple(it);
        r = row == NULL ? -1 : write_all(ret_key, row, plain);
        Py_XDECREF(row);
    } else
        r = write_first(ret_key, it, plain);
    if (ret_key->bytes == 1 && ret_key->data[0] == 1)
        ret_key->bytes = 0;
    ret_key->depth = 0;
    Py_DECREF(it);
    return r < 0 ? -1 : 0;
}
