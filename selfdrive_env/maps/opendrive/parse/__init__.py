"""From the XML of an OpenDRIVE file to records: elements, then what each of them says."""
