// Decisions in the browser's storage: one entry for each sample that was judged here, so that tabs don't overwrite
// each other's decisions.

/** Return the storage of a page. `onFailure(error)` is called when an entry can't be written. */
export function createStorage(storage, key, onFailure) {
  const prefix = `rrm-review ${key.slice(0, 32)} `;
  const testName = `${prefix}test`;

  function attempt(action, otherwise) {
    try {
      if (storage === null) throw new Error("the browser offers no storage to this page");
      return action();
    } catch (error) {
      onFailure(error);
      return otherwise;
    }
  }

  function parse(name, text) {
    return { id: JSON.parse(name.slice(prefix.length)), entry: JSON.parse(text) };
  }

  return {
    /** Return all entries, {id, entry}; an entry is [kind, label], or null for a decision that was cleared. */
    load() {
      return attempt(() => {
        storage.setItem(testName, "1");
        storage.removeItem(testName);
        const names = Array.from({ length: storage.length }, (_, i) => storage.key(i));
        // Another tab may have written its test just now.
        const ownNames = names.filter((name) => name?.startsWith(prefix) && name !== testName);
        return ownNames.map((name) => parse(name, storage.getItem(name)));
      }, []);
    },
    /** Write an entry; undefined removes it. Return whether that succeeded. */
    save(id, entry) {
      const name = prefix + JSON.stringify(id);
      return attempt(() => {
        if (entry === undefined) storage.removeItem(name);
        else storage.setItem(name, JSON.stringify(entry));
        return true;
      }, false);
    },
    /** Return the entry that an event of another tab is about, {id, entry}; null for an event of another page. */
    readEvent(event) {
      if (event.key === null || !event.key.startsWith(prefix) || event.key === testName) return null;
      if (event.newValue === null) return { id: JSON.parse(event.key.slice(prefix.length)), entry: undefined };
      return parse(event.key, event.newValue);
    },
  };
}

/** Return the browser's storage, or null where it is forbidden. */
export function openStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
